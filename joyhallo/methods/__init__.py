"""The methods, a folder each, and the table that tells their files apart. README.md: what a method consists of."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from ..files.contents import KINDS, Kind, WeightsError, contents
from ..files.contents import looks_like as _looks_like
from ..measures.kinds import STABLE_SYNCNET, SYNCNET

Task = Literal["portrait", "redub"]


@dataclass(frozen=True)
class Method:
    """One row: what is known of a method before any of its code is imported."""

    name: str
    task: Task  # portrait: a picture speaks; redub: the lips of a film follow another recording
    checkpoint: Kind
    licence: str  # of its published weights
    module: str  # in this folder: what opens its checkpoints
    function: str

    parts: tuple[str, ...] = ()  # other networks that it works with: vae, whisper, parser, ...
    versions: Mapping[str, str] = field(default_factory=dict)  # that no file tells apart: what a path with it matches

    @property
    def open(self) -> Callable[..., Any]:
        return getattr(import_module(f".{self.module}", __package__), self.function)

    def version(self, path: Path, wished: str = "") -> str:
        """The one that is wished for, or that the file's name and folders suggest, or else the first."""
        if wished and wished not in self.versions:
            there = f"choose one of {', '.join(self.versions)}" if self.versions else "it has none: choose auto"
            raise ValueError(f"{self.name} of a version {wished} is not known; {there}.")
        place = "/".join(path.parts[-3:])
        named = (version for version, sign in self.versions.items() if re.search(sign, place, re.IGNORECASE))
        return wished or next(named, next(iter(self.versions), ""))

    @property
    def redubber(self) -> Callable[..., Any]:
        """Of a redub method: its network, made ready to redub."""
        return import_module(f".{self.module.partition('.')[0]}.method", __package__).redubber


FROM_DIFFUSION = (
    "code: MIT; weights: ask who trained them; the published ones come from Stable Diffusion 1.5 (OpenRAIL-M)"
)
NO_COMMERCE = "weights: research and personal use only, no commercial use"
FIVE = (r"reference_unet\.", r"denoising_unet\.", r"face_locator\.", r"imageproj\.", r"audioproj\.")
REGIONAL = r"denoising_unet\..*\.attn2_1\."  # an attention for each region, which Hallo alone has
LIP_DECODER, LARGER_LIPS = r"(module\.)?face_decoder_blocks\.", r"(module\.)?face_encoder_blocks\.7\."
OTHER_LIPS = r"(module\.)?(face_encoder_blocks\.8\.|sam\.|.*\.act\.weight$)"  # deeper, with attention, with PReLU
MUSETALK = Kind(
    "MuseTalk's UNet",
    (r"down_blocks\.\d+\.resnets", "conv_norm_out"),
    sides=((r"conv_in\.weight$", 1, 8), (r"down_blocks\.0\..*\.attn2\.to_k\.weight$", 1, 384)),
)
OTHER_LATENTSYNC = r".*\.audio_cross_attn\."  # as version 1.0 names its attention to sound
LATENTSYNC = Kind(
    "LatentSync's UNet",
    (r"down_blocks\.\d+\.resnets", "conv_norm_out"),
    (OTHER_LATENTSYNC,),
    sides=((r"conv_in\.weight$", 1, 13),),
)
ULTRALIGHT = Kind(
    "a generator of Ultralight-Digital-Human",
    tuple(rf"(module\.)?{name}\." for name in ("audio_model.conv1.conv", "down1.maxpool_conv", "fuse_conv")),
)
PARSER = Kind("a BiSeNet face parser", (r"cp\.arm16\.", r"ffm\.convblk\.", r"conv_out\.conv_out\."))

METHODS = (
    Method(
        "JoyHallo",
        "portrait",
        Kind("a JoyHallo checkpoint", FIVE, (REGIONAL,)),
        FROM_DIFFUSION,
        "hallo.checkpoint",
        "open_checkpoint",
    ),
    Method(
        "Hallo",
        "portrait",
        Kind("a Hallo checkpoint", (*FIVE, REGIONAL)),
        FROM_DIFFUSION,
        "hallo.checkpoint",
        "open_checkpoint",
    ),
    Method(
        "Wav2Lip",
        "redub",
        Kind("a Wav2Lip generator", (LIP_DECODER,), (LARGER_LIPS, OTHER_LIPS)),
        NO_COMMERCE,
        "wav2lip.checkpoint",
        "open_checkpoint",
    ),
    Method(
        "Wav2Lip 256",
        "redub",
        Kind("a Wav2Lip generator of 256 pixels", (LIP_DECODER, LARGER_LIPS), (OTHER_LIPS,)),
        NO_COMMERCE,
        "wav2lip.checkpoint",
        "open_checkpoint",
    ),
    Method(
        "MuseTalk",
        "redub",
        MUSETALK,
        "code: MIT; weights: any purpose, even commercial",
        "musetalk.checkpoint",
        "open_checkpoint",
        parts=("vae", "whisper", "parser"),
        versions={"1.5": r"v?1[._]?5", "1.0": r"v?1[._]0|v1\b|pytorch_model"},
    ),
    Method(
        "LatentSync",
        "redub",
        LATENTSYNC,
        "code: Apache-2.0; weights: OpenRAIL++",
        "latentsync.checkpoint",
        "open_checkpoint",
        parts=("vae", "whisper"),
        versions={"1.6": r"1\.6|512", "1.5": r"1\.5|256"},
    ),
    Method(
        "Ultralight",
        "redub",
        ULTRALIGHT,
        "code: called Apache-2.0, but without a licence file; weights: ask who trained them, and the person shown",
        "ultralight.checkpoint",
        "open_checkpoint",
        parts=("hubert",),
    ),
)

# Files that people have beside these, and choose by mistake.
NEIGHBOURS = (
    Kind("LatentSync 1.0, another network than that of 1.5 and 1.6", (r"down_blocks\.", OTHER_LATENTSYNC)),
    STABLE_SYNCNET,
    Kind("a part of a JoyHallo or Hallo training run", (r"(reference_unet|denoising_unet|audioproj|imageproj)\.",)),
    Kind(
        "a stage-1 training file (denoising_unet), or Stable Diffusion's UNet",
        (r"down_blocks\.\d+\.resnets", "conv_norm_out"),
    ),
    Kind("a stage-1 training file (reference_unet)", (r"down_blocks\.\d+\.resnets",)),
    Kind("a stage-1 training file (face_locator)", (r"conv_in\.", r"blocks\.0\.")),
    Kind("a stage-1 training file (imageproj)", (r"proj\.weight", r"norm\.weight"), (r"(?!proj\.|norm\.)",)),
    Kind("an AnimateDiff motion module, which JoyHallo already holds", (r".*motion_modules\.",), (r".*resnets\.",)),
    Kind("another network made after Wav2Lip, of 192, 288 or 384 pixels", (LIP_DECODER, OTHER_LIPS)),
    Kind("Wav2Lip's sync expert", (r"(module\.)?face_encoder\.0\.", r"(module\.)?audio_encoder\.0\.")),
    Kind("Wav2Lip's discriminator", (r"(module\.)?binary_pred\.",)),
    SYNCNET,
    PARSER,
    Kind("an S3FD face detector", (r"conv3_3_norm\.",)),
)
ALL = (*(method.checkpoint for method in METHODS), *NEIGHBOURS, *KINDS)


def kind_of(path: Path) -> Kind | None:
    """What a file is, told by the names in it; None if it is nothing that we know. A WeightsError if it is damaged."""
    return contents(path).kind(ALL)


def method_of(path: Path, task: Task | None = None) -> Method:
    """The method that a checkpoint belongs to, among those for a task if one is named.

    A WeightsError says what the file looks like if it belongs to none of them.
    """
    found = contents(path)
    kind = found.kind(ALL)
    methods = [method for method in METHODS if task in (None, method.task)]
    for method in methods:
        if method.checkpoint is kind:
            return method
    *others, last = (method.name for method in methods)
    known = f"{', '.join(others)} or {last}"
    raise WeightsError(f"{path.name} looks like {looks_like(found.shapes)}. Expected a checkpoint of {known}.")


def looks_like(names: Collection[str]) -> str:
    """Completes "It looks like ...", for a file with these names in it."""
    return _looks_like(names, ALL)
