"""Checkpoint files -> networks: the published `net.pth` of JoyHallo and Hallo, or one `.safetensors`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...diffusion.codec import CodecConfig
from ...diffusion.schedule import ScheduleConfig
from ...files.checkpoint import Stored
from ...files.contents import WeightsError
from ...files.weights import FLOATS, open_weights
from ...libraries import brief
from ...ops import Ops, TorchOps
from .. import looks_like
from .config import ModelConfig, NetConfig
from .networks.net import Net

NETWORKS = ("reference_unet", "denoising_unet", "face_locator", "imageproj", "audioproj")
EXPECTED = "one file with the five networks " + ", ".join(NETWORKS)
ADVICE = "Choose net.pth of JoyHallo or Hallo, or the .safetensors that `python -m joyhallo.convert` made of it."
WANTED = f"{EXPECTED}. {ADVICE}"
HEADER_ENTRY = "joyhallo"  # in a safetensors header: facts that the shapes of the weights do not show, as JSON

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Model:
    config: ModelConfig
    net: Net

    @property
    def name(self) -> str:
        return "Hallo" if self.config.net.regional_audio else "JoyHallo"


@dataclass(frozen=True)
class Checkpoint(Stored):
    """A checkpoint whose sizes are known, with its weights still on disk, mapped into memory until they are used."""

    config: ModelConfig
    weights: Mapping[str, Tensor]

    def build(
        self, ops: Ops = TorchOps, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
    ) -> Model:
        """Build all five networks, in the file's precision unless `dtype` is given."""
        with torch.device("meta"):
            net = Net(self.config.net, ops)
        # by the file's keys, which were checked against ours: layers that ComfyUI fills later do not tell theirs yet
        skipped = never_run(self.config.net)
        kept = {key: tensor for key, tensor in self.weights.items() if not skipped.match(key)}
        needed = {key: _converted(key, tensor, dtype, device) for key, tensor in kept.items()}
        net.load_state_dict(needed, strict=True, assign=True)
        return Model(self.config, net.requires_grad_(False).eval())


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Open a checkpoint, or raise a WeightsError unless it holds a complete JoyHallo or Hallo model."""
    path = Path(path)
    state, header = open_weights(path, WANTED)
    config = model_config(path, {key: tuple(tensor.shape) for key, tensor in state.items()}, header)
    if odd := [key for key, tensor in state.items() if tensor.dtype not in FLOATS]:
        raise WeightsError(f"{path.name} holds whole numbers ({odd[0]}) where weights are expected. {ADVICE}")
    return Checkpoint(config, state)


def load_checkpoint(
    path: str | Path,
    ops: Ops = TorchOps,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> Model:
    """Load all five networks of a file, in the file's precision unless `dtype` is given.

    On the CPU and in the file's own precision the weights stay on disk, mapped into memory, until they are used.
    """
    return open_checkpoint(path).build(ops, dtype=dtype, device=device)


def _converted(key: str, tensor: Tensor, dtype: torch.dtype | None, device: torch.device | str) -> Tensor:
    if dtype is not None and dtype.itemsize == 1 and (tensor.ndim < 2 or not key.endswith(".weight")):
        dtype = None  # 8 bits only for matrices: norms, biases and tables would lose much precision and save nothing
    return tensor.to(device=device, dtype=dtype)


def model_config(path: Path, shapes: Shapes, header: Mapping[str, str]) -> ModelConfig:
    """Check that a file holds a complete JoyHallo or Hallo model, and return its sizes."""
    absent = [network for network in NETWORKS if not any(key.startswith(f"{network}.") for key in shapes)]
    if len(absent) == len(NETWORKS):
        raise WeightsError(f"{path.name} looks like {looks_like(shapes)}. Expected {WANTED}")
    if absent:
        raise WeightsError(
            f"{path.name} lacks {', '.join(absent)}; expected {EXPECTED}. It may be only one part of a training run. "
            + ADVICE
        )
    told = _told(path, header)
    try:
        net = net_config(shapes, told.get("net", {}))
        schedule, codec = ScheduleConfig(**told.get("schedule", {})), CodecConfig(**told.get("codec", {}))
        config = ModelConfig(net, schedule, codec, str(told.get("note", "")))
    except KeyError as error:
        raise WeightsError(_misfit(path, "JoyHallo", [error.args[0]], [], [])) from error
    except (TypeError, ValueError) as error:
        raise WeightsError(f"{path.name}: {error}") from error
    except (ArithmeticError, IndexError) as error:  # sizes of tensors that have other dimensions than expected
        raise WeightsError(_misfit(path, "JoyHallo", [], [], [brief(error)])) from error
    _check_keys(path, shapes, net)
    return config


def net_config(shapes: Shapes, told: Mapping[str, Any]) -> NetConfig:
    """Sizes from the shapes of the weights, and from `told` for the rest: heads, norm groups, audio layers."""

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
            f"the audio projection takes {inputs} numbers a frame, and the file does not say how they are divided: "
            f"{config.audio_window} windows of {config.audio_layers} layers of {config.audio_channels} channels would "
            f"be {config.audio_inputs}. Save it as safetensors with a {HEADER_ENTRY!r} entry that says so."
        )
    return config


def header_entry(config: ModelConfig) -> str:
    return json.dumps(asdict(config))


def _told(path: Path, header: Mapping[str, str]) -> dict[str, Any]:
    try:
        told = json.loads(header.get(HEADER_ENTRY, "{}"))
        return {**told, **{part: dict(told.get(part, {})) for part in ("net", "schedule", "codec")}}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise WeightsError(
            f"{path.name}: its header's {HEADER_ENTRY!r} entry is not valid JSON ({error}). "
            "Download or convert it again."
        ) from error


def never_run(config: NetConfig) -> re.Pattern[str]:
    """Keys of the motion modules in the two stages without attention, which the original has but never runs."""
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
        raise WeightsError(_misfit(path, "Hallo" if config.regional_audio else "JoyHallo", missing, unknown, wrong))


def _misfit(path: Path, name: str, missing: list[str], unknown: list[str], wrong: list[str]) -> str:
    found = [
        f"{len(keys)} {what} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
        for what, keys in (("missing", missing), ("unknown", unknown), ("of another shape", wrong))
        if keys
    ]
    return (
        f"{path.name} looks like a {name} checkpoint, but not all of its tensors fit: {'; '.join(found)}. It is "
        "damaged or of another version; download it again, or convert net.pth again."
    )
