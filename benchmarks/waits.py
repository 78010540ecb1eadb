"""What does a denoising step ask of a graphics card: how many launches, and does it ever wait?

    python -m benchmarks.waits --px 256 512 --json

The steps run on the meta device, at the published sizes, in fp16, and every operation is noted. A card waits until its
queue is empty when numbers go to it from ordinary memory or come from it; where they come from it the meta device
raises. Launches are operations that are more than another view of the same numbers; copies those among them that
compute nothing. A card's own habits (a bias added in a pass of its own, maps laid out anew) come on top.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from joyhallo.diffusion.codec import LATENT_SCALE
from joyhallo.diffusion.schedule import Schedule
from joyhallo.methods.hallo.config import NetConfig
from joyhallo.methods.hallo.networks.net import Net
from joyhallo.methods.hallo.sampling import Sampler, Settings
from joyhallo.methods.latentsync import network as latentsync
from joyhallo.methods.latentsync import sampling as latentsync_sampling
from joyhallo.ops import TorchOps

from .denoise import random_inputs

META = torch.device("meta")
FROM_NUMBERS = (torch.tensor, torch.as_tensor, torch.asarray, Tensor.new_tensor)
NOTHING = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "detach", "lift_fresh"}
NOTHING |= {"_unsafe_view", "_reshape_alias", "resize_"}
COPIES = {"copy_", "clone", "cat", "stack", "_to_copy", "contiguous"}


class FusedOps(TorchOps):
    """Attention as one launch."""

    @staticmethod
    def attention(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
        return torch.addcmul(q, k[:, :1], v[:, :1])


class Asked:
    """Inside `with`: all that is asked of the meta device, which stands for a card."""

    def __init__(self) -> None:
        self.launches, self.waits = Counter[str](), Counter[str]()
        self._modes = ExitStack()

    @property
    def copies(self) -> int:
        return sum(self.launches[name] for name in COPIES)

    def __enter__(self) -> Asked:
        self._modes.enter_context(_Numbers(self.waits))
        self._modes.enter_context(_Operations(self))
        return self

    def __exit__(self, *error: Any) -> None:
        self._modes.__exit__(*error)


class _Numbers(TorchFunctionMode):
    """Those that Python brings along, which no operation shows: `torch.tensor([1], device=...)`, `x[[0, 1]]`."""

    def __init__(self, waits: Counter[str]):
        super().__init__()
        self.waits = waits

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        listed = func in (Tensor.__getitem__, Tensor.__setitem__) and any(
            isinstance(part, list) for part in (args[1] if isinstance(args[1], tuple) else args[1:2])
        )
        if listed or (func in FROM_NUMBERS and _on_card(result) and not _on_card(args[-1])):
            self.waits[f"numbers by {func.__name__}"] += 1
        return result


class _Operations(TorchDispatchMode):
    def __init__(self, asked: Asked):
        super().__init__()
        self.asked = asked

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if any(map(_on_card, tree_leaves(result))):
            name = func._schema.name.split("::")[1]
            given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
            if any(map(_in_memory, given)):
                self.asked.waits[f"{name} from ordinary memory"] += 1
            if not (func.is_view or name in NOTHING):
                self.asked.launches[name] += 1
        return result


def _on_card(found: object) -> bool:
    return isinstance(found, Tensor) and found.device == META


def _in_memory(given: Tensor) -> bool:
    """A single number is part of a launch."""
    return given.device != META and given.ndim > 0


@torch.no_grad()
def hallo(px: int, settings: Settings, config: NetConfig | None = None) -> Asked:
    """As many steps as the settings say, without what comes before them."""
    config, frames = config or NetConfig(), settings.chunk_frames
    with META:
        net = Net(config, FusedOps).half()
    portrait, windows = random_inputs(config, px, frames)
    latents = torch.randn(frames, config.latent_channels, px // LATENT_SCALE, px // LATENT_SCALE, device=META)
    sampler = Sampler(net, portrait, latents[:1], settings, META, torch.float16)
    chunk = sampler.prepare_chunk(windows, 0, None)
    steps = Schedule().ddim(settings.steps)
    with Asked() as asked:
        sampler.denoise(chunk, latents, steps, held=latents[: settings.overlap])
    return asked


@torch.no_grad()
def lips(px: int, settings: latentsync_sampling.Settings, sizes: latentsync.Sizes | None = None) -> Asked:
    """The same of LatentSync."""
    side, frames, sizes = px // LATENT_SCALE, latentsync.FRAMES, sizes or latentsync.Sizes()
    with META:
        net = latentsync.UNet(sizes, FusedOps).half()
        noise = torch.empty(1, 4, side, side)
        given = torch.empty(frames, latentsync.INPUTS - 4, side, side, dtype=torch.float16)
        sound = torch.empty(frames, 50, sizes.sound, dtype=torch.float16)
    with Asked() as asked:
        latentsync_sampling.denoise(net, noise, given, sound, settings)
    return asked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--px", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    steps: dict[str, Callable[[int], Asked]] = {
        "hallo": lambda px: hallo(px, Settings(steps=1)),
        "hallo, rows apart": lambda px: hallo(px, Settings(steps=1, rows_together=False)),
        "latentsync": lambda px: lips(px, latentsync_sampling.Settings(steps=1)),
    }
    for name, step in steps.items():
        for px in arguments.px:
            asked = step(px)
            row = {"step": name, "px": px, "launches": asked.launches.total(), "copies": asked.copies}
            row["waits"] = asked.waits.total()
            print(json.dumps(row) if arguments.json else "  ".join(f"{k} {v}" for k, v in row.items()))


if __name__ == "__main__":
    main()
