"""MuseTalk as a redub method: the lower half of each face is painted anew, in one step, with 200 ms of sound."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...faces.blend import Patch, lower_face
from ...faces.lanczos import lanczos
from ...faces.regions import LIPS, NOSE_OUTLINE, OUTLINE
from ...faces.track import Track
from ...sound.audio import Recording
from ...sound.heard import HeardWindows
from ...sound.whisper import MUSETALK
from ..boxed import Boxed
from ..redub import Codec, Engine, OnStep, Ready, RedubError, Wishes, as_it_is, check_numbers, in_parts
from ..whispered import Hear, heard_at_frames, hearing
from .avatar import Avatar
from .boxes import Pads, boxes_of
from .masks import LOWER_LIP, NOSE, SKIN, Square, drawn, masks, share
from .network import placed
from .parser import SIDE, normalised

SIZE = 256
AT_ONCE = 8  # frames
WORKED = 7_000_000  # numbers for each of them that the network holds at the same time: a tenth more than was counted
CHOICES = ("jaw", "raw", "neck", "box")  # what of a face may be replaced
AREAS = {"1.5": "jaw", "1.0": "raw"}  # what each version replaces, unless something else is wished
KNOWN = frozenset({"sync_offset", "cover_tail", "smoothing", "area", "joints"})  # of the wishes, by both versions

Network = Callable[[Tensor, Tensor], Tensor]  # network.UNet: latents, sound -> latents
Parse = Callable[[Tensor], Tensor]  # parser.Parser: pictures -> how likely each label is

AVATAR = Avatar()  # of every film, as long as the program runs


@dataclass(frozen=True)
class Faces:
    """The boxes that the network sees, and what of them is replaced."""

    boxed: Boxed
    track: Track
    area: str
    parse: Parse | None = None
    parsed: Mapping[int, Tensor] = field(default_factory=dict)  # masks of the frames that are just being looked at

    @property
    def usable(self) -> NDArray[np.bool_]:
        return self.boxed.usable

    def cut(self, pictures: Tensor, frames: Sequence[int]) -> Tensor:
        return self.boxed.cut(pictures, frames)

    def observing(self, pictures: Tensor, frames: Sequence[int]) -> Faces:
        """Where a parser is at hand, it is shown the faces, and what surrounds them."""
        if self.parse is None or self.area == "box":
            return self
        squares = [Square.around(self.boxed.box(frame)) for frame in frames]
        seen = torch.stack([square.seen(picture) for square, picture in zip(squares, pictures, strict=True)])
        parts = seen.split(1 if seen.device.type == "cpu" else len(seen))  # one at a time fits into a CPU's cache
        labels = torch.cat([self.parse(normalised(part)).argmax(1) for part in parts])
        return replace(self, parsed=dict(zip(frames, masks(labels, self.area).float(), strict=True)))

    def patch(self, crop: Tensor, frame: int) -> Patch | None:
        if (whole := self.boxed.patch(crop, frame)) is None:
            return None
        mask = self.parsed.get(frame)
        if mask is None:
            mask = masks(self._drawn(frame, crop.device), self.area)[0].float()
        return replace(whole, weights=share(mask, whole.box))

    def _drawn(self, frame: int, device: torch.device) -> Tensor:
        """Labels (1, 512, 512), by whatever points there are."""
        square, points = Square.around(self.boxed.box(frame)), self.track.points
        if self.track.scheme == "mesh":
            lines = {SKIN: OUTLINE, NOSE: NOSE_OUTLINE, LOWER_LIP: LIPS}
            each = {label: points[frame, list(line)] for label, line in lines.items()}
        else:
            each = {SKIN: lower_face(self.track, frame)}
        scale = SIDE / square.side
        return drawn(
            [
                (label, torch.from_numpy((outline - (square.left, square.top)) * scale).float().to(device)[None])
                for label, outline in each.items()
            ]
        )


def faces_of(track: Track, boxes: Tensor, area: str, parse: Parse | None = None) -> Faces:
    return Faces(Boxed(boxes, SIZE, lanczos), track, area, parse)


@dataclass(frozen=True)
class MuseTalk:
    network: Network
    vae: Codec
    hear: Hear
    version: str
    at_once: int = AT_ONCE
    parse: Parse | None = None
    device: torch.device | str = "cpu"
    dtype: torch.dtype = torch.float32
    wishes: Wishes = field(default_factory=Wishes)
    avatar: Avatar = field(default_factory=Avatar)
    of_what: str = ""  # fingerprint of the VAE
    ready: Ready = as_it_is
    size: int = SIZE
    stored: torch.dtype = torch.uint8

    @property
    def known(self) -> frozenset[str]:
        """Each version was published with one way to move the box."""
        return KNOWN | {"pads" if self.version == "1.5" else "shift"}

    @property
    def memory(self) -> int:
        """Bytes that the network needs beside its weights."""
        return self.at_once * WORKED * self.dtype.itemsize

    def crops(self, track: Track) -> Faces:
        wishes, known = self.wishes, self.known
        shift = wishes.shift if "shift" in known else 0
        pads = Pads(*wishes.pads) if "pads" in known else Pads()
        boxes = boxes_of(track, wishes.smoothing, shift, pads)
        return faces_of(track, boxes, wishes.area or AREAS[self.version], self.parse)

    def listen(self, recording: Recording, rate: Fraction) -> HeardWindows:
        return heard_at_frames(self.hear, MUSETALK, recording, rate, self.wishes)

    def speak(self, crops: Tensor, heard: Tensor, on_step: OnStep) -> Tensor:
        latents = self.avatar.of(crops, (self.of_what, self.dtype), self._encoded).to(self.device, self.dtype)
        network = self.ready(self.network, self.memory)
        made = network(latents, placed(heard.to(self.device, self.dtype)))
        on_step(1, 1, made)
        return self._decoded(made)

    def _encoded(self, crops: Tensor) -> Tensor:
        """(n, 3, 256, 256) of bytes -> latents (n, 8, 32, 32): with a black lower half first, then whole."""
        # One channel after the other, as norms in other orders of memory are less exact where all is black.
        crops = crops.contiguous(memory_format=torch.contiguous_format)
        whole = (crops.to(self.device).float() / 255 - 0.5) / 0.5  # in the original's order, for the last bit
        masked = whole.clone()
        masked[:, :, SIZE // 2 :] = -1
        faces = [in_parts(self.vae.encode, some, SIZE, self.device) for some in (masked, whole)]
        return torch.cat(faces, dim=1).to(self.dtype)

    def _decoded(self, latents: Tensor) -> Tensor:
        pictures = in_parts(self.vae.decode, latents, SIZE, self.device).float()
        check_numbers(pictures, self.dtype)
        return ((pictures / 2 + 0.5).clamp_(0, 1) * 255).round_().byte()


def redubber(engine: Engine, most: int, wishes: Wishes) -> MuseTalk:
    """most: frames at once, for which there is room."""
    if wishes.area and wishes.area not in CHOICES:
        raise RedubError(f"MuseTalk knows no area {wishes.area}; choose auto or one of {', '.join(CHOICES)}.")
    parts = engine.parts
    parser, mark = parts.get("parser"), engine.fingerprints.get("vae", "")
    return MuseTalk(
        engine.network,
        parts["vae"],
        hearing(engine, MUSETALK),
        engine.version or "1.5",
        min(most, AT_ONCE),
        None if parser is None else _parsing(engine, parser),
        engine.device,
        engine.dtype,
        wishes,
        AVATAR if mark else Avatar(),
        mark,
        engine.ready,
    )


def _parsing(engine: Engine, parser: Any) -> Parse:
    def parse(pictures: Tensor) -> Tensor:
        """In the parser's own precision, whatever that of the UNet is."""
        dtype = next(parser.parameters()).dtype
        return engine.ready(parser)(pictures.to(engine.device, dtype))

    return parse
