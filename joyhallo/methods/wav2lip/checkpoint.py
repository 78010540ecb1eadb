"""Files of Wav2Lip -> networks: the generators of 96 and of 256 pixels, and the expert that judges lip sync."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from ...files.weights import FLOATS, WeightsError, open_weights
from ...ops import Ops, TorchOps
from .. import looks_like
from .expert import Expert
from .network import Generator

ADVICE = "Choose wav2lip.pth, wav2lip_gan.pth or wav2lip256.pth, or what `python -m joyhallo.convert` made of one."
WANTED = f"a Wav2Lip generator. {ADVICE}"
EXPERT_WANTED = "Wav2Lip's sync expert, lipsync_expert.pth."
SIZES = {"a Wav2Lip generator": 96, "a Wav2Lip generator of 256 pixels": 256}  # by what a file looks like
EPSILON = 1e-5  # of every BatchNorm there
PREFIX = "module."  # what training on several processors puts before every name
COUNTER = ".num_batches_tracked"
NORM = ("weight", "bias", "running_mean", "running_var")

State = Mapping[str, Tensor]
Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Checkpoint(Generic[Network]):
    """A file whose network is known, with its weights still on disk, mapped into memory where the format allows."""

    network: type[Network]
    sizes: tuple[int, ...]  # what the network is built with
    weights: State  # under their published names, with every BatchNorm

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of most of the weights."""
        return max(self.weights.values(), key=Tensor.numel).dtype

    @property
    def parameters(self) -> int:
        return sum(tensor.numel() for tensor in self.weights.values())

    def build(
        self, ops: Ops = TorchOps, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
    ) -> Network:
        """Build the network without its norms, in the file's precision unless `dtype` is given."""
        with torch.device("meta"):
            net = self.network(*self.sizes, ops)
        state = {key: _laid_out(tensor.to(device)) for key, tensor in folded(self.weights, dtype or self.dtype).items()}
        net.load_state_dict(state, strict=True, assign=True)
        return net.requires_grad_(False).eval()


def _laid_out(tensor: Tensor) -> Tensor:
    """In the order of memory in which convolutions take a sixth less time, and crops of pictures come anyway."""
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


def open_checkpoint(path: str | Path) -> Checkpoint[Generator]:
    """Open a generator of 96 or 256 pixels, or raise a WeightsError that says what the file is instead."""
    path = Path(path)
    state = _opened(path, WANTED)
    size = SIZES.get(looks_like(state))
    if size is None:
        raise WeightsError(f"{path.name} looks like {looks_like(state)}. Expected {WANTED}")
    _check(path, state, Generator, size)
    return Checkpoint(Generator, (size,), state)


def open_expert(path: str | Path) -> Checkpoint[Expert]:
    path = Path(path)
    state = _opened(path, EXPERT_WANTED)
    if looks_like(state) != "Wav2Lip's sync expert":
        raise WeightsError(f"{path.name} looks like {looks_like(state)}. Expected {EXPERT_WANTED}")
    _check(path, state, Expert)
    return Checkpoint(Expert, (), state)


def _opened(path: Path, wanted: str) -> dict[str, Tensor]:
    """Under the published names, without BatchNorm's counters."""
    state = {key.removeprefix(PREFIX): tensor for key, tensor in open_weights(path, wanted)[0].items()}
    state = {key: tensor for key, tensor in state.items() if not key.endswith(COUNTER)}
    if odd := [key for key, tensor in state.items() if tensor.dtype not in FLOATS]:
        raise WeightsError(f"{path.name} holds whole numbers ({odd[0]}) where weights are expected. Expected {wanted}")
    return state


def published(net: nn.Module) -> dict[str, tuple[int, ...]]:
    """The names and shapes of a network's file: with a BatchNorm of as many channels as a block's bias."""
    shapes = {}
    for key, tensor in net.state_dict().items():
        shapes[key] = tuple(tensor.shape)
        if key.endswith(".conv_block.0.bias"):
            shapes |= dict.fromkeys((key.replace("0.bias", f"1.{part}") for part in NORM), tuple(tensor.shape))
    return shapes


def _check(path: Path, state: State, network: type[nn.Module], *sizes: int) -> None:
    with torch.device("meta"):
        expected = published(network(*sizes))
    found = {key: tuple(tensor.shape) for key, tensor in state.items()}
    problems = [
        f"{len(keys)} {what} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
        for what, keys in (
            ("missing", [key for key in expected if key not in found]),
            ("unknown", [key for key in found if key not in expected]),
            ("of another shape", [key for key in expected if found.get(key, expected[key]) != expected[key]]),
        )
        if keys
    ]
    if problems:
        raise WeightsError(
            f"{path.name} looks like {looks_like(state)}, but not all of its tensors fit: {'; '.join(problems)}. It is "
            "damaged or of another version; download it again."
        )


def folded(state: State, dtype: torch.dtype) -> dict[str, Tensor]:
    """The weights of networks without norms: each BatchNorm multiplies and moves what the convolution before it gives.

    Done in double precision, where the networks answer as before to 1e-13. In single precision their answers are up to
    3e-5 of 1 (6e-5 with 256 pixels) off the original's on the recorded cases, as those of double precision are, with or
    without norms; with norms it would be 5e-6.
    """
    convolutions = [key.removesuffix(".conv_block.1.weight") for key in state if key.endswith(".conv_block.1.weight")]
    small = dtype if dtype.itemsize > 1 else torch.float16  # 8 bits only for matrices: biases would save nothing
    whole = {
        key: tensor.to(small if tensor.ndim < 2 else dtype)
        for key, tensor in state.items()
        if ".conv_block." not in key
    }
    for name in convolutions:
        weight, bias = (state[f"{name}.conv_block.0.{part}"].double() for part in ("weight", "bias"))
        scale, shift, mean, variance = (state[f"{name}.conv_block.1.{part}"].double() for part in NORM)
        scale = scale / (variance + EPSILON).sqrt()
        # Transposed convolutions have their outputs second. All of those here take more channels than they give.
        shape = (-1, 1, 1, 1) if len(weight) == len(scale) else (1, -1, 1, 1)
        whole[f"{name}.conv_block.0.weight"] = (weight * scale.view(shape)).to(dtype)
        whole[f"{name}.conv_block.0.bias"] = (shift + (bias - mean) * scale).to(small)
    return whole
