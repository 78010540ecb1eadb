"""What a step of a recipe takes, counted without a graphics card, weights or a dataset:

    python -m joyhallo.training.cost stage2 --set data.batch=1

The networks run on PyTorch's meta device, which computes shapes alone, as CUDA would run them: with its attention and
its autocast. The memory is that of all tensors alive at once; CUDA itself and the gaps between tensors come on top.
"""

from __future__ import annotations

import argparse
import logging
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.flop_counter import flop_registry

from ..diffusion.networks.blocks import Part
from ..files.space import amount
from ..methods.hallo.config import NetConfig
from ..methods.hallo.networks.net import Net
from .layers import TrainingOps
from .recipe import Recipe, RecipeError, read_recipe
from .samples import Batch, Conditions
from .stage import Stage, forgetful
from .start import select, sizes

log = logging.getLogger(__name__)

SPEED = 100.0  # TFLOP/s
HALF = {F.linear, F.conv2d, F.scaled_dot_product_attention, torch.matmul, Tensor.matmul, Tensor.__matmul__,
        torch.baddbmm, torch.einsum}  # fmt: skip
FULL = {F.layer_norm, F.group_norm, F.softmax, torch.softmax, Tensor.softmax}


@dataclass(frozen=True)
class Cost:
    """Of one step on one device."""

    kept: int  # bytes of the weights and of the optimizer, which stay
    passing: int  # bytes at most, at once, of pictures, activations and gradients
    operations: int  # floating-point operations

    @property
    def memory(self) -> int:
        return self.kept + self.passing


def cost(recipe: Recipe, size: int = 512) -> Cost:
    """Count a step of a recipe from a dataset with stored latents, for pictures of `size` pixels."""
    config = sizes(recipe.net)
    with torch.device("meta"):
        stage = Stage(Net(config, TrainingOps), recipe)
        batch, latents = _batch(recipe, config, size)
    if recipe.checkpointing:  # what runs again for the gradients runs as it did
        stage.run = lambda part: forgetful(AsCuda(recipe.precision).around(part))
    total = sum(parameter.numel() for parameter in stage.parameters())
    trained = sum(parameter.numel() for parameter in select(stage.net, recipe.train).values())
    moments = 2 if recipe.optimizer.kind == "adamw8bit" else 8
    average = 4 if recipe.average else 0
    with torch.device("meta"), Counting() as counted:
        with AsCuda(recipe.precision):
            loss = stage(batch, latents).weighted.mean()
        loss.backward()
    kept = 4 * total + (moments + average) * trained
    return Cost(kept, counted.most, recipe.accumulate * counted.operations)


def _batch(recipe: Recipe, config: NetConfig, size: int) -> tuple[Batch, Tensor]:
    rows, frames, references = recipe.data.batch, recipe.frames, 1 + recipe.motion_frames
    side = size // 8
    shape = (config.latent_channels, side, side)
    given = torch.ones(rows, dtype=torch.bool)
    heard = (config.audio_window, config.audio_layers, config.audio_channels)
    batch = Batch(
        pictures=torch.empty(rows, 0),
        latents=torch.empty(rows, 0),
        spread=torch.empty(rows, 0),
        noise=torch.empty(rows, frames, *shape),
        timestep=torch.zeros(rows, dtype=torch.long),
        identity=torch.empty(rows, config.face_dim),
        known_faces=torch.ones(rows, references, dtype=torch.bool),
        locator=torch.empty(rows, 3, size, size),
        masks=[torch.empty(rows, 3, (side >> level) ** 2) for level in range(config.levels)],
        windows=torch.empty(rows, frames, *heard) if recipe.stage == "clips" else torch.empty(rows, 0),
        # how many rows read their reference is looked at, so this one must be real
        given=Conditions(torch.ones(rows, dtype=torch.bool, device="cpu"), given, given, given, given),
    )
    return batch, torch.empty(rows, references + frames, *shape)


class AsCuda(TorchFunctionMode):
    """Attention that keeps no table of weights, and autocast, as on a graphics card."""

    def __init__(self, precision: str):
        super().__init__()
        self.half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)

    def around(self, part: Part) -> Part:
        def run(*args: Any) -> Any:
            with self:
                return part(*args)

        return run

    def __torch_function__(self, func: Callable, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.half is not None and (func in HALF or func in FULL):
            args = _cast(args, self.half if func in HALF else torch.float32)
            kwargs = _cast(kwargs, self.half if func in HALF else torch.float32)
        if func is F.scaled_dot_product_attention:
            return torch.ops.aten._scaled_dot_product_flash_attention(*args, **kwargs)[0]
        return func(*args, **kwargs)


def _cast(values: Any, dtype: torch.dtype) -> Any:
    return tree_map(lambda v: v.to(dtype) if isinstance(v, Tensor) and v.is_floating_point() else v, values)


class Counting(TorchDispatchMode):
    """Counts operations, and the bytes of the tensors that are made, as long as they live.

    PyTorch's FlopCounterMode follows the modules, too, which keeps tensors alive for longer.
    """

    def __init__(self):
        super().__init__()
        self.now = self.most = self.operations = 0
        self.known: dict[int, Any] = {}

    def __torch_dispatch__(self, func: Callable, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = {id(t.untyped_storage()) for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        made = func(*args, **(kwargs or {}))
        if count := flop_registry.get(getattr(func, "_overloadpacket", None)):
            self.operations += count(*args, **(kwargs or {}), out_val=made)
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor) and id(tensor.untyped_storage()) not in before:
                self._count(tensor.untyped_storage())
        return made

    def _count(self, storage: Any) -> None:
        place, size = id(storage), storage.nbytes()
        if place in self.known:
            return

        def gone(_: Any) -> None:
            self.now -= size
            del self.known[place]

        self.known[place] = weakref.ref(storage, gone)
        self.now += size
        self.most = max(self.most, self.now)


# ---- the command


def main(arguments: Sequence[str] | None = None) -> int:
    from .__main__ import found

    parser = argparse.ArgumentParser(
        prog="python -m joyhallo.training.cost",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recipe", help="a .toml file, or the name of one that comes with this")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--size", type=int, default=512, help="pixels of each side (default: %(default)s)")
    parser.add_argument("--speed", type=float, default=SPEED, help="of the card, in TFLOP/s (default: %(default)s)")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        recipe = read_recipe(found(chosen.recipe), chosen.changes)
        for line in account(recipe, cost(recipe, chosen.size), chosen.speed):
            log.info("%s", line)
        return 0
    except RecipeError as error:
        log.error("%s", error)
        return 1


def account(recipe: Recipe, counted: Cost, speed: float) -> Iterator[str]:
    work = counted.operations / 1e12
    seconds = work / speed
    yield (
        f"memory for each device: {amount(counted.memory)} ({amount(counted.kept)} that stay, at most "
        f"{amount(counted.passing)} that come and go)"
    )
    yield f"work for each step: {work:.3g} TFLOP, which takes {seconds:.2g} s at {speed:g} TFLOP/s"
    yield f"in all: {recipe.steps:,} steps, {seconds * recipe.steps / 3600:.1f} hours at that speed"


if __name__ == "__main__":
    sys.exit(main())
