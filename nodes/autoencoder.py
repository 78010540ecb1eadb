"""ComfyUI's VAE as the engine's codec."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import comfy.sd
import comfy.utils
from torch import Tensor

from ..joyhallo.checkpoint import CheckpointError, looks_like
from ..joyhallo.config import LATENT_SCALE, ModelConfig

EXPECTED = "a VAE of Stable Diffusion 1.5, such as sd-vae-ft-mse"


class ComfyCodec:
    def __init__(self, vae: Any, config: ModelConfig):
        self.vae, self.scale = vae, config.codec.scale

    def encode(self, pixels: Tensor) -> Tensor:
        return self.vae.encode(pixels.movedim(1, -1) / 2 + 0.5) * self.scale

    def decode(self, latents: Tensor) -> Tensor:
        return self.vae.decode(latents / self.scale).movedim(-1, 1)


def check_vae(vae: Any, config: ModelConfig) -> None:
    """Raise a ValueError if the model cannot work in the latents of this VAE."""
    if not isinstance(vae, comfy.sd.VAE):
        raise ValueError(f"The VAE is a {type(vae).__name__}; connect {EXPECTED}.")
    vae.throw_exception_if_invalid()
    found = vae.latent_channels, vae.spacial_compression_encode(), vae.latent_dim
    taken = config.net.latent_channels, LATENT_SCALE, 2
    if found != taken:
        raise ValueError(
            f"This VAE has latents of {found[0]} channels at 1/{found[1]} of the size, {_of_what(found[2])}; the model "
            f"takes {taken[0]} channels at 1/{taken[1]}, of pictures: connect {EXPECTED}."
        )


def _of_what(dimensions: int) -> str:
    return {1: "of sound", 2: "of pictures", 3: "of video"}.get(dimensions, f"in {dimensions} dimensions")


def load_vae(path: Path) -> comfy.sd.VAE:
    state = comfy.utils.load_torch_file(str(path), safe_load=True)
    if "encoder.conv_in.weight" not in state or "decoder.conv_in.weight" not in state:
        raise CheckpointError(f"{path.name} looks like {looks_like(state)}; expected was {EXPECTED}.")
    vae = comfy.sd.VAE(sd=state, config=_sizes(state))
    vae.throw_exception_if_invalid()
    return vae


def _sizes(state: dict[str, Tensor]) -> dict[str, Any] | None:
    """What ComfyUI takes to build an autoencoder of other widths than Stable Diffusion's; None for that one."""
    first = "encoder.down.0.block.0.conv1.weight"
    if first not in state or (width := state[first].shape[0]) == 128:
        return None
    levels = _count(state, "encoder.down.{}.block.0.conv1.weight")
    widths = [state[f"encoder.down.{level}.block.0.conv1.weight"].shape[0] for level in range(levels)]
    channels = state["decoder.conv_in.weight"].shape[1]
    sizes = {
        "double_z": True,
        "z_channels": channels,
        "resolution": 256,
        "in_channels": 3,
        "out_ch": 3,
        "ch": width,
        "ch_mult": [wide // width for wide in widths],
        "num_res_blocks": _count(state, "encoder.down.0.block.{}.conv1.weight"),
        "attn_resolutions": [],
        "dropout": 0.0,
    }
    return {"params": {"ddconfig": sizes, "embed_dim": channels}}


def _count(state: dict[str, Tensor], key: str) -> int:
    count = 0
    while key.format(count) in state:
        count += 1
    return count
