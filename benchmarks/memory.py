"""The memory that each network needs beside its weights.

    python -m benchmarks.memory --px 256 384 512 768 --json
    python -m benchmarks.memory --weights fp8_e4m3fn

Every tensor is followed from its making to its end while the networks run on the meta device, so no memory is needed
to ask. Attention is counted as the fused kernels have it: without the table of scores. The largest sum is compared with
what `joyhallo.methods.hallo.memory` tells ComfyUI to keep free.
"""

from __future__ import annotations

import argparse
import json
import weakref
from collections.abc import Iterable
from functools import cache

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from joyhallo.diffusion.codec import LATENT_SCALE
from joyhallo.diffusion.schedule import Schedule
from joyhallo.methods.hallo.checkpoint import NETWORKS
from joyhallo.methods.hallo.config import NetConfig
from joyhallo.methods.hallo.memory import working_memory
from joyhallo.methods.hallo.networks.net import Net
from joyhallo.methods.hallo.sampling import Sampler, Settings
from joyhallo.ops import CastOps, TorchOps

from .denoise import DTYPES, random_inputs

KEPT = {**DTYPES, "fp8_e4m3fn": torch.float8_e4m3fn}


class FusedOps(TorchOps):
    @staticmethod
    def attention(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
        return torch.empty_like(q)


class FusedCastOps(CastOps):
    attention = FusedOps.attention


class Followed(TorchDispatchMode):
    """Bytes of all storages that were made while it was on and still live; the most there were."""

    def __init__(self, known: Iterable[Tensor]) -> None:
        super().__init__()
        self.known = {tensor.untyped_storage()._cdata for tensor in known}
        self.live, self.most = 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._note(leaf.untyped_storage())
        return result

    def _note(self, storage: torch.UntypedStorage) -> None:
        if storage._cdata not in self.known:
            self.known.add(storage._cdata)
            self.live += storage.nbytes()
            weakref.finalize(storage, self._gone, storage._cdata, storage.nbytes())
        self.most = max(self.most, self.live)

    def _gone(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.live -= size


class Meter(Followed):
    """The most per network."""

    def __init__(self, net: Net) -> None:
        super().__init__(net.state_dict().values())
        self.networks = {getattr(net, name): name for name in NETWORKS}
        self.name = NETWORKS[0]
        self.peaks: dict[str, int] = {}

    def _note(self, storage: torch.UntypedStorage) -> None:
        super()._note(storage)
        self.peaks[self.name] = max(self.peaks.get(self.name, 0), self.live)

    def ready(self, network: nn.Module) -> nn.Module:
        self.name = self.networks[network]
        return network


@cache
def on_meta(config: NetConfig, dtype: torch.dtype, kept: torch.dtype) -> Net:
    with torch.device("meta"):
        return Net(config, FusedOps if kept == dtype else FusedCastOps).to(kept)


@torch.no_grad()
def measured(
    config: NetConfig, px: int, settings: Settings, dtype: torch.dtype, kept: torch.dtype | None = None
) -> dict[str, int]:
    """kept: the dtype of weights that are cast on use"""
    net = on_meta(config, dtype, kept or dtype)
    portrait, windows = random_inputs(config, px, settings.chunk_frames)
    side = px // LATENT_SCALE
    latents = torch.randn(settings.chunk_frames, config.latent_channels, side, side)
    meter = Meter(net)
    with meter:
        sampler = Sampler(net, portrait, latents[:1], settings, torch.device("meta"), dtype, meter.ready)
        chunk = sampler.prepare_chunk(windows, 0, latents[: settings.motion_frames])
        sampler.denoise(chunk, latents, Schedule().ddim(settings.reuse))
    return meter.peaks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--px", type=int, nargs="+", default=[256, 384, 512, 768])
    parser.add_argument("--frames", type=int, default=Settings.chunk_frames)
    parser.add_argument("--dtype", choices=DTYPES, default="fp16")
    parser.add_argument("--weights", choices=KEPT, help="cast on use, if they are not as the rest")
    parser.add_argument("--hallo", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    config, dtype = NetConfig(regional_audio=arguments.hallo), DTYPES[arguments.dtype]
    kept = KEPT[arguments.weights or arguments.dtype]
    for px in arguments.px:
        for together in (True, False):
            settings = Settings(chunk_frames=arguments.frames, rows_together=together)
            found = measured(config, px, settings, dtype, kept)
            told = working_memory(config, settings, px, dtype, kept)
            for name, peak in found.items():
                row = {"px": px, "together": together, "network": name, "MB": peak >> 20, "told_MB": told[name] >> 20}
                print(json.dumps(row) if arguments.json else "  ".join(f"{k} {v}" for k, v in row.items()))


if __name__ == "__main__":
    main()
