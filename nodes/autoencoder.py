"""ComfyUI's VAE as the engine's codec."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import comfy.latent_formats
import comfy.sd
import torch
from torch import Tensor

from ..joyhallo.config import check_count
from ..joyhallo.diffusion.codec import LATENT_SCALE, PatchCodec, patch_codec
from ..joyhallo.files.contents import WeightsError
from ..joyhallo.files.weights import open_weights
from ..joyhallo.libraries import brief
from ..joyhallo.methods import looks_like
from ..joyhallo.methods.hallo.config import ModelConfig
from .comfy_adapter import FULL, can_be_made_again, comfy_ops

# One convolution of each level, as ComfyUI and diffusers name it
FIRST_BLOCK = (
    "encoder.down.{level}.block.{block}.conv1.weight",
    "encoder.down_blocks.{level}.resnets.{block}.conv1.weight",
)
STABLE_DIFFUSION = [128, 256, 512, 512]

# ComfyUI builds an autoencoder in memory before it compares it with the file
WIDEST, MOST_DOWN = 1 << 13, 1000

STABLE = "a VAE of Stable Diffusion 1.5, such as sd-vae-ft-mse"
PATCHES = "the VAE that was trained with the model: for demo, choose demo as the VAE too"

ENCODING, DECODING = 3_000, 5_000  # bytes per latent of a picture


class ComfyCodec:
    def __init__(self, vae: Any, config: ModelConfig):
        self.vae, self.scale = vae, config.codec.scale

    def encode(self, pixels: Tensor) -> Tensor:
        return self.vae.encode(pixels.movedim(1, -1) / 2 + 0.5) * self.scale

    def decode(self, latents: Tensor) -> Tensor:
        return self.vae.decode(latents / self.scale).movedim(-1, 1)


def unclamped(vae: comfy.sd.VAE) -> comfy.sd.VAE:
    """Another one of the same network, for those who go on working with what was decoded, where it was computed.

    What it decodes is about -1..1, and not clamped.
    """
    other = copy(vae)
    other.process_output = lambda pictures: pictures
    other.output_device = vae.device
    return other


def check_vae(vae: Any, config: ModelConfig) -> None:
    """Raise a ValueError unless the model works with this VAE's latents."""
    patches = config.codec.kind == "patches"
    expected = PATCHES if patches else STABLE
    if not isinstance(vae, comfy.sd.VAE):
        raise ValueError(f"The VAE is a {type(vae).__name__}; connect {expected}.")
    vae.throw_exception_if_invalid()
    found = vae.latent_channels, vae.spacial_compression_encode(), vae.latent_dim
    taken = config.net.latent_channels, LATENT_SCALE, 2
    if found != taken:
        raise ValueError(
            f"This VAE has latents of {found[0]} channels at 1/{found[1]} of the size, {_of_what(found[2])}; the "
            f"model takes {taken[0]} channels at 1/{taken[1]}, of pictures: connect {expected}."
        )
    if isinstance(vae.first_stage_model, PatchCodec) != patches:
        raise ValueError(
            f"This VAE has latents of a different kind from those the model was trained with: connect {expected}."
        )


def latent_format(vae: comfy.sd.VAE) -> comfy.latent_formats.LatentFormat:
    """ComfyUI's description of the latents, for previews."""
    if isinstance(vae.first_stage_model, PatchCodec):
        return _format_of_patches(vae.first_stage_model)
    stable = comfy.latent_formats.SD15()
    return stable if vae.latent_channels == stable.latent_channels else comfy.latent_formats.LatentFormat()


def _format_of_patches(codec: PatchCodec) -> comfy.latent_formats.LatentFormat:
    """Describe latents of patches: each shows the mean colour of its patch."""
    shown = comfy.latent_formats.LatentFormat()
    shown.latent_channels = codec.channels
    shown.latent_rgb_factors = codec.patches.to_pixels.unflatten(0, (3, -1)).mean(1).T.tolist()
    shown.latent_rgb_factors_bias = codec.patches.mean.unflatten(0, (3, -1)).mean(1).tolist()
    return shown


def _of_what(dimensions: int) -> str:
    return {1: "of sound", 2: "of pictures", 3: "of video"}.get(dimensions, f"in {dimensions} dimensions")


def load_vae(path: Path) -> comfy.sd.VAE:
    vae = _loaded(path)
    can_be_made_again(vae.patcher, _patcher_again, path)
    return vae


def _patcher_again(path: Path, disable_dynamic: bool = False) -> Any:
    """Like ComfyUI's own for its VAEs, which leave the choice of the patcher to the VAE."""
    return load_vae(path).patcher


def _loaded(path: Path) -> comfy.sd.VAE:
    state, _ = open_weights(path, f"{STABLE}.")
    if "patches.mean" in state:
        return _of_patches(patch_codec(path, {key: tensor.float() for key, tensor in state.items()}, comfy_ops(FULL)))
    if "encoder.conv_in.weight" not in state or "decoder.conv_in.weight" not in state:
        raise WeightsError(f"{path.name} looks like {looks_like(state)}; expected {STABLE}.")
    try:
        vae = comfy.sd.VAE(sd=state, config=_sizes(state))
        vae.throw_exception_if_invalid()
        vae.latent_channels = _channels(state)  # ComfyUI assumes 4 where sizes are given
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{path.name} names the tensors of a VAE, but ComfyUI cannot build one of them ({brief(error)}). It is "
            f"damaged or of another kind; expected {STABLE}."
        ) from error
    return vae


def _of_patches(codec: PatchCodec) -> comfy.sd.VAE:
    """Wrap a codec of patches as a ComfyUI VAE.

    ComfyUI makes VAEs only from files that it knows. So the smallest of these, which leaves pictures unchanged, gets
    another network and its sizes; all else that a version of ComfyUI expects of a VAE stays as ComfyUI made it.
    It always works in full precision, as its cost is negligible.
    """
    vae = comfy.sd.VAE(sd={"pixel_space_vae": torch.ones(())}, dtype=FULL.compute)
    manager, vae.first_stage_model = vae.patcher, codec
    vae.patcher = type(manager)(codec, load_device=manager.load_device, offload_device=manager.offload_device)
    vae.latent_channels, vae.downscale_ratio, vae.upscale_ratio = codec.channels, LATENT_SCALE, LATENT_SCALE
    vae.process_output = lambda pictures: pictures  # in 0..1 already
    vae.memory_used_encode = lambda shape, dtype: ENCODING * shape[-1] * shape[-2] // LATENT_SCALE**2
    vae.memory_used_decode = lambda shape, dtype: DECODING * shape[-1] * shape[-2]
    vae.size = None  # ComfyUI measures it again: this was the other network's
    return vae


def _channels(state: dict[str, Tensor]) -> int:
    return state["decoder.conv_in.weight"].shape[1]


def _sizes(state: dict[str, Tensor]) -> dict[str, Any] | None:
    """ComfyUI's settings for an autoencoder whose widths differ from Stable Diffusion's; None if they do not."""
    first = next((first for first in FIRST_BLOCK if first.format(level=0, block=0) in state), None)
    if first is None:
        return None
    known = [name for name in state if name.startswith("encoder.down")]
    check_count("the number of tensors that go down", len(known), MOST_DOWN, 0)
    widths = [weight.shape[0] for weight in _following(state, lambda level: first.format(level=level, block=0))]
    blocks = len(_following(state, lambda block: first.format(level=0, block=block)))
    for width in widths:
        check_count("the width of a level", width, WIDEST)
    if widths == STABLE_DIFFUSION:
        return None
    sizes = {
        "double_z": True,
        "z_channels": _channels(state),
        "resolution": 256,
        "in_channels": 3,
        "out_ch": 3,
        "ch": widths[0],
        "ch_mult": [width // widths[0] for width in widths],
        "num_res_blocks": blocks,
        "attn_resolutions": [],
        "dropout": 0.0,
    }
    return {"params": {"ddconfig": sizes, "embed_dim": _channels(state)}}


def _following(state: dict[str, Tensor], key: Callable[[int], str]) -> list[Tensor]:
    """The tensors of key(0), key(1), ... up to the first that is missing."""
    return [state[name] for name in takewhile(state.__contains__, map(key, count()))]
