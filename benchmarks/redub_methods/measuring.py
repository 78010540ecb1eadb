"""What both comparisons have in common: a film, seeded weights, turns, and what is counted."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from joyhallo.config import FPS
from joyhallo.diffusion.codec import CodecConfig
from joyhallo.faces.blend import Blend
from joyhallo.faces.regions import BROWS, UPPER_BROWS
from joyhallo.faces.track import Track
from joyhallo.methods.redub import Redubber, placed, redub
from joyhallo.methods.script import Script
from joyhallo.recent import Recent
from joyhallo.sound import whisper
from joyhallo.sound.audio import Recording

from ..memory import Followed
from ..redub import known_track, pictures, speech, spent

SOUND = 384  # numbers of each token, those of Whisper tiny
TINY = 4  # its blocks
SILENT = -30.0  # the logarithm of a variance that is practically zero: what is drawn is then the mean


# ---- what is redubbed


@dataclass(frozen=True)
class Clip:
    """A drawn person, whose face is known to both sides, and what is said."""

    pictures: Tensor  # (frames, side, side, 3), of bytes
    track: Track
    recording: Recording

    @classmethod
    def drawn(cls, side: int, frames: int, spoken: int, recording: Recording | None = None) -> Clip:
        """spoken: frames for which there is sound, if that is not given."""
        shown = torch.from_numpy(np.stack(list(pictures(side, frames))))
        track = known_track(side, frames)
        points = np.array(track.points)
        for upper, lower in zip(UPPER_BROWS, BROWS, strict=True):  # drawn people have no points there
            points[:, upper] = points[:, lower]
        return cls(shown, replace(track, points=points), recording or speech(spoken / FPS))


def redubbed(method: Redubber, clip: Clip, device: torch.device | str = "cpu") -> Tensor:
    """From frames and sound to frames (n, side, side, 3), with nothing remembered of earlier turns."""
    with mock.patch.object(whisper, "KEPT", Recent(0)):
        windows, crops = method.listen(clip.recording, clip.track.rate), method.crops(clip.track)
        count = min(len(windows), len(clip.pictures))
        script = Script(np.arange(count), np.ones(count, np.float32))
        chunks = redub(method, clip.pictures, crops, windows, script, device=device)
        return torch.cat([placed(chunk, crops, script, Blend()) for chunk in chunks])


# ---- networks


def seeded(network: nn.Module) -> nn.Module:
    """Numbers that keep activations bounded. Tables stay as they are."""
    torch.manual_seed(0)
    state = {key: _drawn(key, tensor) for key, tensor in network.state_dict().items()}
    nn.Module.load_state_dict(network, state, assign=True)  # the original has one of its own
    return network.requires_grad_(False).eval()


def _drawn(key: str, tensor: Tensor) -> Tensor:
    if key.endswith((".pe", "embed_positions.weight", "positional_embedding", "running_var", "num_batches_tracked")):
        return tensor
    if tensor.ndim < 2:
        return float(key.endswith("weight")) + 0.1 * torch.randn(tensor.shape)
    return torch.randn(tensor.shape).mul_(tensor[0].numel() ** -0.5)


def autoencoder(channels: Iterable[int], layers: int) -> Any:
    """Both sides' VAE, whose posterior has no spread: one side draws from it, the other takes its mean."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    widths = tuple(channels)
    told: dict[str, Any] = {
        "down_block_types": ("DownEncoderBlock2D",) * len(widths),
        "up_block_types": ("UpDecoderBlock2D",) * len(widths),
        "block_out_channels": widths,
        "layers_per_block": layers,
        "latent_channels": 4,
        "scaling_factor": CodecConfig.scale,
        "shift_factor": 0.0,
    }
    return AutoencoderKL(**told)


def published_autoencoder() -> Any:
    """Of the size of Stable Diffusion's."""
    return autoencoder((128, 256, 512, 512), 2)


def without_spread(vae: Any) -> Any:
    mean = vae.config.latent_channels
    vae.quant_conv.weight[mean:] = 0
    vae.quant_conv.bias[mean:] = SILENT
    return vae


@dataclass(frozen=True)
class Codec:
    """The same VAE as our methods take it."""

    vae: Any

    def encode(self, pixels: Tensor) -> Tensor:
        return self.vae.encode(pixels.to(self.vae.dtype)).latent_dist.mode() * CodecConfig.scale

    def decode(self, latents: Tensor) -> Tensor:
        return self.vae.decode(latents.to(self.vae.dtype) / CodecConfig.scale).sample


# ---- figures


def turns(ours: Callable[[], object], theirs: Callable[[], object], count: int) -> dict[str, Any]:
    """CPU seconds of each side, one after the other, and theirs over ours; both are warm already."""
    pairs = [(spent(ours)[0], spent(theirs)[0]) for _ in range(count)]
    mine, other = zip(*pairs, strict=True)
    return {
        "ours_s": _spread(mine),
        "theirs_s": _spread(other),
        "ours_to_theirs": _spread([a / b for a, b in pairs]),
        "theirs_to_ours": _spread([b / a for a, b in pairs]),
    }


def _spread(numbers: Iterable[float]) -> list[float]:
    """Least, median, most."""
    numbers = list(numbers)
    return [round(number, 4) for number in (min(numbers), statistics.median(numbers), max(numbers))]


def tflop(work: Callable[[], object]) -> float:
    """Of every matrix product, convolution and attention."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops() / 1e12


def peak(work: Callable[[], object], known: Iterable[Tensor]) -> int:
    """Bytes alive at once beside what is known, attention as fused kernels have it: without its table of scores."""
    fused = mock.patch.object(F, "scaled_dot_product_attention", lambda q, *_, **__: torch.empty_like(q))
    with fused, Followed(known) as met:
        work()
    return met.most


def compared(ours: float, theirs: float) -> dict[str, float]:
    return {"ours": ours, "theirs": theirs, "ours_to_theirs": round(ours / theirs, 4)}
