"""Checkpoint files -> networks: the published `net.pth` of JoyHallo and Hallo, or one `.safetensors`."""

from __future__ import annotations

import json
import pickle
import re
import struct
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ...config import CodecConfig, ModelConfig, NetConfig, ScheduleConfig
from ...diffusion.codec import AutoencoderCodec, PatchCodec
from ...libraries import brief
from ...ops import CastOps, Ops, TorchOps
from .networks.net import Net

NETWORKS = ("reference_unet", "denoising_unet", "face_locator", "imageproj", "audioproj")
EXPECTED = "one file with the five networks " + ", ".join(NETWORKS)
CODEC = "a Stable Diffusion autoencoder in diffusers' layout, such as the folder sd-vae-ft-mse, or a codec of patches"
ADVICE = "Choose net.pth of JoyHallo or Hallo, or the .safetensors that `python -m joyhallo.convert` made of it."
HEADER_ENTRY = "joyhallo"  # in a safetensors header: what the shapes of the weights cannot tell, as JSON

Shapes = Mapping[str, tuple[int, ...]]


class CheckpointError(ValueError):
    """A file that cannot be loaded, in words for whoever chose it."""


@dataclass(frozen=True)
class Model:
    config: ModelConfig
    net: Net

    @property
    def name(self) -> str:
        return "Hallo" if self.config.net.regional_audio else "JoyHallo"


@dataclass(frozen=True)
class Checkpoint:
    """A file whose sizes are known and whose weights still lie on disk, mapped into memory until they are used."""

    config: ModelConfig
    weights: Mapping[str, Tensor]

    @property
    def dtype(self) -> torch.dtype:
        """That of most weights."""
        return max(self.weights.values(), key=Tensor.numel).dtype

    @property
    def parameters(self) -> int:
        return sum(tensor.numel() for tensor in self.weights.values())

    def build(
        self, ops: Ops = TorchOps, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
    ) -> Model:
        """All five networks, in the file's precision unless `dtype` says otherwise."""
        with torch.device("meta"):
            net = Net(self.config.net, ops)
        # by the file's keys, which were checked against ours: layers that ComfyUI fills later do not tell theirs yet
        skipped = never_run(self.config.net)
        kept = {key: tensor for key, tensor in self.weights.items() if not skipped.match(key)}
        needed = {key: _converted(key, tensor, dtype, device) for key, tensor in kept.items()}
        net.load_state_dict(needed, strict=True, assign=True)
        return Model(self.config, net.requires_grad_(False).eval())


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Raise a CheckpointError, in words for whoever chose the file, unless it holds a whole JoyHallo or Hallo model."""
    path = Path(path)
    state, header = open_weights(path)
    return Checkpoint(model_config(path, {key: tuple(tensor.shape) for key, tensor in state.items()}, header), state)


def load_checkpoint(
    path: str | Path,
    ops: Ops = TorchOps,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> Model:
    """All five networks of a file, in the file's precision unless `dtype` says otherwise.

    On the CPU and in the file's own precision the weights stay on disk, mapped into memory, until they are used.
    """
    return open_checkpoint(path).build(ops, dtype=dtype, device=device)


def _converted(key: str, tensor: Tensor, dtype: torch.dtype | None, device: torch.device | str) -> Tensor:
    if dtype is not None and dtype.itemsize == 1 and (tensor.ndim < 2 or not key.endswith(".weight")):
        dtype = None  # 8 bits are for matrices: norms, biases and tables would lose much and save nothing
    return tensor.to(device=device, dtype=dtype)


def load_codec(
    path: str | Path, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
) -> AutoencoderCodec | PatchCodec:
    """A Stable Diffusion autoencoder in diffusers' layout, its folder or its weights file alone; or a PatchCodec."""
    path = Path(path)
    if path.is_dir():
        names = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
        path = next((path / name for name in names if (path / name).exists()), path / names[0])
    state, _ = open_weights(path, f"{CODEC}.")
    if "patches.mean" in state:
        return patch_codec(path, state).to(device)
    if "decoder.conv_in.weight" not in state or "encoder.down_blocks.0.resnets.0.conv1.weight" not in state:
        raise CheckpointError(f"{path.name} looks like {looks_like(state)}; expected was {CODEC}.")
    from diffusers.models.autoencoders.autoencoder_kl import (
        AutoencoderKL,
    )  # slow to import, and only scripts and training need it

    state = {key: tensor.to(device=device, dtype=dtype) for key, tensor in modern_spelling(state).items()}
    sizes = path.parent / "config.json"
    config = json.loads(sizes.read_text()) if sizes.exists() else _autoencoder_sizes(state)
    with torch.device("meta"):
        autoencoder: Any = AutoencoderKL.from_config(config)
    autoencoder.load_state_dict(state, strict=True, assign=True)
    return AutoencoderCodec(autoencoder.requires_grad_(False).eval())


def patch_codec(path: Path, state: Mapping[str, Tensor], ops: Ops = CastOps) -> PatchCodec:
    """From the tensors of a file."""
    try:
        return PatchCodec.of(state, ops)
    except (KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"{path.name} looks like a codec of patches, but not all of its tensors fit ({brief(error)}). It is "
            "damaged or of another version; download it again, or make it with python -m "
            "joyhallo.training.small.patches."
        ) from error


# ---- files


def open_weights(path: Path, expected: str = f"{EXPECTED}. {ADVICE}") -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors, mapped into memory where the format allows, and the header's entries. Told by content, not by name.

    `expected` completes the sentence "Expected was ..." where the file is something else.
    """
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}. Expected was {expected}")
    with path.open("rb") as file:
        start = file.read(512)
    if problem := _not_weights(start):
        raise CheckpointError(f"{path.name} {problem}. Download it again; expected was {expected}")
    if _is_safetensors(start, path.stat().st_size):  # before the others: its length may begin with their letters
        return _open_safetensors(path)
    if start.startswith(b"PK"):
        return _open_pickle(path, True, expected), {}
    if start.startswith(b"\x80"):
        return _open_pickle(path, False, expected), {}
    return _open_safetensors(path)


def _not_weights(start: bytes) -> str | None:
    if not start:
        return "is empty"
    if start.startswith(b"version https://git-lfs"):
        return "is only a Git LFS pointer, a few lines of text that stand for the real file"
    if start.lstrip().lower().startswith((b"<!doctype html", b"<html", b"<?xml")):
        return "is a web page, which is what a failed download leaves"
    known = start.startswith((b"PK", b"\x80")) or (len(start) > 8 and start[8:9] == b"{")
    return None if known else "is neither a PyTorch file nor a safetensors file"


def _is_safetensors(start: bytes, size: int) -> bool:
    """It begins with the length of its header, which is JSON."""
    return start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= size - 8


def _open_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, "pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}
    except (SafetensorError, struct.error, ValueError) as error:
        raise CheckpointError(
            f"{path.name} is a damaged or incomplete safetensors file ({error}). Download or convert it again."
        ) from error


def _open_pickle(path: Path, mapped: bool, expected: str) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{path.name} {_refused(str(error))}. Expected was {expected}") from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path.name} is a damaged or incomplete PyTorch file ({str(error).splitlines()[0]}). Download it again."
        ) from error
    for wrapper in ("state_dict", "module"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        look = looks_like(state) if isinstance(state, dict) else f"a single {type(state).__name__}"
        raise CheckpointError(f"{path.name} looks like {look}. Expected was {expected}")
    return state


def _refused(reason: str) -> str:
    if re.search(r"fairseq|argparse|omegaconf", reason):
        return "looks like a fairseq training checkpoint; it holds Python objects, which are never run"
    found = re.search(r"GLOBAL\s+([\w.]+)", reason)
    return f"holds Python objects ({found.group(1) if found else 'of an unknown kind'}), which are never run"


def modern_spelling(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Today's key names for what older releases of diffusers and PyTorch wrote."""
    renamed = {}
    for key, tensor in state.items():
        for old, new in OLD_SPELLINGS:
            if re.search(old, key):
                key = re.sub(old, new, key)
                if new.startswith(r"\1.to_") and tensor.ndim == 4:  # once a 1x1 convolution
                    tensor = tensor.flatten(1)
        renamed[key] = tensor
    return renamed


OLD_SPELLINGS = (
    (r"(attentions\.\d+)\.query\.", r"\1.to_q."),
    (r"(attentions\.\d+)\.key\.", r"\1.to_k."),
    (r"(attentions\.\d+)\.value\.", r"\1.to_v."),
    (r"(attentions\.\d+)\.proj_attn\.", r"\1.to_out.0."),
    (r"\.weight_g$", ".parametrizations.weight.original0"),
    (r"\.weight_v$", ".parametrizations.weight.original1"),
)


# ---- what a file is


def looks_like(keys: Collection[str]) -> str:
    """Files that are easily taken for a checkpoint of ours, by the names in them."""

    def some(pattern: str) -> bool:
        return any(re.match(pattern, key) for key in keys)

    if not keys:
        return "a file without any tensor"
    if some("model.diffusion_model"):
        return "a Stable Diffusion checkpoint"
    if some(r"lora_|.*\.lora_"):
        return "a LoRA"
    if some(r"first_stage_model\.|encoder\.(down|mid)|decoder\.(up|mid)|patches\."):
        return "an autoencoder (VAE), which belongs in the VAE's place"
    if some(r"(wav2vec2\.)?feature_extractor\.conv_layers"):
        return "a wav2vec2 speech encoder, which belongs in the audio encoder's place"
    if some("encoder_layers|w2v_|cfg$|args$|task_state"):
        return "a fairseq training checkpoint"
    if some(r".*optimizer|epoch$|global_step$|lr_scheduler"):
        return "the saved state of a training run"
    if some(r".*motion_modules\.") and not some(r".*resnets\."):
        return "an AnimateDiff motion module, which JoyHallo already holds"
    if some(r"down_blocks\.\d+\.resnets"):
        kind = "denoising_unet" if some("conv_norm_out") else "reference_unet"
        return f"a single UNet: a stage-1 training file ({kind}) or Stable Diffusion's own"
    if some(r"conv_in\.") and some(r"blocks\.0\."):
        return "a stage-1 training file (face_locator)"
    if set(keys) == {"proj.weight", "proj.bias", "norm.weight", "norm.bias"}:
        return "a stage-1 training file (imageproj)"
    if some(r"audio_encoder|.*audio"):
        return "a model for sound"
    return f"something else (its first key is {next(iter(keys))!r})"


def model_config(path: Path, shapes: Shapes, header: Mapping[str, str]) -> ModelConfig:
    """Check that a file holds all of a JoyHallo or Hallo model, and tell its sizes."""
    absent = [network for network in NETWORKS if not any(key.startswith(f"{network}.") for key in shapes)]
    if len(absent) == len(NETWORKS):
        raise CheckpointError(f"{path.name} looks like {looks_like(shapes)}. Expected was {EXPECTED}. {ADVICE}")
    if absent:
        raise CheckpointError(
            f"{path.name} lacks {', '.join(absent)}; expected was {EXPECTED}. It may be one part of a training run. "
            + ADVICE
        )
    told = _told(path, header)
    try:
        net = net_config(shapes, told.get("net", {}))
        schedule, codec = ScheduleConfig(**told.get("schedule", {})), CodecConfig(**told.get("codec", {}))
        config = ModelConfig(net, schedule, codec, str(told.get("note", "")))
    except KeyError as error:
        raise CheckpointError(_misfit(path, "JoyHallo", [error.args[0]], [], [])) from error
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path.name}: {error}") from error
    _check_keys(path, shapes, net)
    return config


def net_config(shapes: Shapes, told: Mapping[str, Any]) -> NetConfig:
    """Sizes from the shapes of the weights; `told` has what shapes do not show: heads, norm groups, audio layers."""

    def count(pattern: str) -> int:
        return sum(re.fullmatch(pattern, key) is not None for key in shapes)

    unet, levels = "denoising_unet", count(r"denoising_unet\.down_blocks\.\d+\.resnets\.0\.conv1\.weight")
    width = shapes["imageproj.norm.weight"][0]
    audio_width = shapes["audioproj.norm.weight"][0]
    locator = [shapes["face_locator.conv_in.weight"][0]]
    for i in range(1, count(r"face_locator\.blocks\.\d+\.weight"), 2):
        locator.append(shapes[f"face_locator.blocks.{i}.weight"][0])
    attention = f"{unet}.mid_block.motion_modules.0.temporal_transformer.transformer_blocks.0.attention_blocks.0"
    shown = {
        "channels": tuple(shapes[f"{unet}.down_blocks.{i}.resnets.0.conv1.weight"][0] for i in range(levels)),
        "layers": count(rf"{unet}\.down_blocks\.0\.resnets\.\d+\.conv1\.weight"),
        "latent_channels": shapes[f"{unet}.conv_in.weight"][1],
        "face_dim": shapes["imageproj.proj.weight"][1],
        "face_tokens": shapes["imageproj.proj.weight"][0] // width,
        "face_width": width,
        "audio_hidden": shapes["audioproj.proj1.weight"][0],
        "audio_tokens": shapes["audioproj.proj3.weight"][0] // audio_width,
        "audio_width": audio_width,
        "locator_channels": tuple(locator),
        "positions": shapes[f"{attention}.pos_encoder.pe"][1],
        "regional_audio": any(key.endswith(".attn2_1.to_q.weight") for key in shapes),
    }
    known = {field.name for field in fields(NetConfig)}
    config = NetConfig(**shown, **{name: value for name, value in told.items() if name in known - shown.keys()})
    inputs = shapes["audioproj.proj1.weight"][1]
    if config.audio_inputs != inputs:
        raise ValueError(
            f"the audio projection takes {inputs} numbers a frame, and the file does not say how they divide: "
            f"{config.audio_window} windows of {config.audio_layers} layers of {config.audio_channels} channels would "
            f"be {config.audio_inputs}. Save it as safetensors with a {HEADER_ENTRY!r} entry that tells."
        )
    return config


def header_entry(config: ModelConfig) -> str:
    return json.dumps(asdict(config))


def _told(path: Path, header: Mapping[str, str]) -> dict[str, Any]:
    try:
        told = json.loads(header.get(HEADER_ENTRY, "{}"))
        return {**told, **{part: dict(told.get(part, {})) for part in ("net", "schedule", "codec")}}
    except (ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{path.name}: its header's {HEADER_ENTRY!r} entry is not valid JSON ({error})."
        ) from error


def never_run(config: NetConfig) -> re.Pattern[str]:
    """Keys of the motion modules in the two stages without attention: the original holds them, but skips them."""
    deepest = config.levels - 1
    return re.compile(rf"denoising_unet\.(down_blocks\.{deepest}|up_blocks\.0)\.motion_modules\.")


def _check_keys(path: Path, shapes: Shapes, config: NetConfig) -> None:
    with torch.device("meta"):
        expected = {key: tuple(tensor.shape) for key, tensor in Net(config).state_dict().items()}
    skipped = never_run(config)
    missing = [key for key in expected if key not in shapes]
    unknown = [key for key in shapes if key not in expected and not skipped.match(key)]
    wrong = [
        f"{key} {shapes[key]}, not {expected[key]}"
        for key in expected
        if shapes.get(key, expected[key]) != expected[key]
    ]
    if missing or unknown or wrong:
        raise CheckpointError(_misfit(path, "Hallo" if config.regional_audio else "JoyHallo", missing, unknown, wrong))


def _misfit(path: Path, name: str, missing: list[str], unknown: list[str], wrong: list[str]) -> str:
    found = [
        f"{len(keys)} {what} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
        for what, keys in (("missing", missing), ("unknown", unknown), ("of another shape", wrong))
        if keys
    ]
    return (
        f"{path.name} looks like a {name} checkpoint, but not all of its tensors fit: {'; '.join(found)}. "
        "It is damaged or of another version; download it again or convert it anew from net.pth."
    )


def _autoencoder_sizes(state: Mapping[str, Tensor]) -> dict[str, Any]:
    widths = []
    while (key := f"encoder.down_blocks.{len(widths)}.resnets.0.conv1.weight") in state:
        widths.append(state[key].shape[0])
    layers = sum(
        re.fullmatch(r"encoder\.down_blocks\.0\.resnets\.\d+\.conv1\.weight", key) is not None for key in state
    )
    return {
        "down_block_types": ["DownEncoderBlock2D"] * len(widths),
        "up_block_types": ["UpDecoderBlock2D"] * len(widths),
        "block_out_channels": widths,
        "layers_per_block": layers,
        "latent_channels": state["decoder.conv_in.weight"].shape[1],
    }
