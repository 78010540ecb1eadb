"""VIDEO values: read a few frames at a time wherever they lie in a file, and the file that the sampler makes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any
from weakref import finalize

import comfy.model_management
import torch
from comfy_api.latest import InputImpl, Types
from torch import Tensor

from ..joyhallo.files.space import check_memory
from ..joyhallo.film.label import Label
from ..joyhallo.film.marks import Marks, read_marks
from ..joyhallo.film.read import AT_ONCE, Film, Reel, retimed
from ..joyhallo.film.write import frame_rate, write
from ..joyhallo.sound.audio import Sound
from .labels import Labelling


def as_sound(audio: Any) -> Sound | None:
    """Of an AUDIO value, not looked at yet."""
    return None if audio is None else (audio["waveform"], audio["sample_rate"])


def as_audio(sound: Sound | None) -> Any:
    return None if sound is None else {"waveform": sound[0][None], "sample_rate": sound[1]}


@dataclass(frozen=True)
class Footage:
    """A video as it goes into a file."""

    batches: Iterable[Tensor]  # (n, height, width, channels)
    count: int
    size: tuple[int, int]  # width and height
    rate: Fraction | float
    sound: Callable[[], Sound | None]  # which is read when it is asked for

    @classmethod
    def of(cls, video: Any) -> Footage:
        if not is_whole_file(video):
            parts = video.get_components()
            return cls.of_frames(parts.images, parts.frame_rate, lambda: as_sound(_right_sound(video, parts.audio)))
        film = Film(video.get_stream_source())
        known, rate = film.facts, frame_rate(film.facts.rate)
        return cls(film.frames(rate), known.count, (known.width, known.height), rate, film.sound)

    @classmethod
    def of_frames(
        cls, images: Tensor, rate: Fraction | float, sound: Callable[[], Sound | None] = lambda: None
    ) -> Footage:
        return cls(images.split(AT_ONCE), len(images), (images.shape[2], images.shape[1]), rate, sound)


def is_whole_file(video: Any) -> bool:
    """Whether all that a video shows is all that its file holds: newer versions of ComfyUI can trim."""
    if not isinstance(video, InputImpl.VideoFromFile):
        return False
    if not hasattr(video, "as_trimmed"):
        return True
    return video.get_duration() >= InputImpl.VideoFromFile(video.get_stream_source()).get_duration() - 1e-3


def size_of(video: Any) -> tuple[int, int]:
    """Width and height of what it shows, upright."""
    if is_whole_file(video):
        known = Film(video.get_stream_source()).facts
        return known.width, known.height
    height, width = video.get_components().images.shape[1:3]
    return width, height


def reel_of(video: Any, rate: int) -> Reel:
    """Read as it is needed; what is no file, or is trimmed, must be held as a whole."""
    if is_whole_file(video):
        return Reel.of(video.get_stream_source(), rate)
    parts = video.get_components()
    return Reel(retimed(parts.images, Fraction(parts.frame_rate), rate))


def _right_sound(video: Any, audio: Any) -> Any:
    """A video's own sound. Versions of ComfyUI that cannot trim videos misread what is not AAC, so it is read again."""
    if not isinstance(video, InputImpl.VideoFromFile) or hasattr(video, "as_trimmed"):
        return audio
    return as_audio(Film(video.get_stream_source()).sound())


class SavedVideo(InputImpl.VideoFromFile):
    """For nodes that follow: with sound that is right in every version of ComfyUI."""

    def get_components_internal(self, container: Any) -> Any:
        components = super().get_components_internal(container)
        components.audio = _right_sound(self, components.audio)
        return components


class WorkingCopy(SavedVideo):
    """A video that lies in ComfyUI's temporary folder without loss, as long as somebody needs it."""

    def __init__(self, path: Path, count: int, marks: Marks | None = None):
        """marks: of what it was made from"""
        super().__init__(str(path))
        self.path, self.count, self.marks = path, count, marks or Marks()
        finalize(self, _remove, path)

    def get_components(self) -> Any:
        """In one tensor made beforehand, where ComfyUI would hold every frame twice."""
        if not is_whole_file(self):
            return super().get_components()
        film = Film(self.path)
        known = film.facts
        check_memory(
            f"Holding all {self.count} frames at once",
            self.count * known.height * known.width * 3 * torch.float32.itemsize,
            comfy.model_management.get_free_memory(torch.device("cpu")),
            "connect the video itself, to Save Talking Video or to another node that reads it piece by piece",
        )
        images, filled = torch.empty(self.count, known.height, known.width, 3), 0
        for batch in film.frames():
            images[filled : filled + len(batch)] = batch
            filled += len(batch)
        audio = as_audio(film.sound())
        return Types.VideoComponents(images=images[:filled], frame_rate=known.rate, audio=audio)

    def save_to(
        self, path: Any, format: Any = "auto", codec: Any = "auto", metadata: Any = None, **others: Any
    ) -> None:
        """As an mp4 that plays everywhere, where ComfyUI would copy what only we read, or hold all frames at once."""
        ordinary = format in ("auto", "mp4") and codec in ("auto", "h264") and not any(map(bool, others.values()))
        if not ordinary or not isinstance(path, str | Path):
            super().save_to(path, format=format, codec=codec, metadata=metadata, **others)
            return
        whole = Footage.of(self)
        labels = labelling(self, "mp4").labels
        write(path, whole.batches, whole.rate, whole.sound(), "mp4", "high", metadata, labels)

    def as_trimmed(self, *args: Any, **others: Any) -> Any:
        trimmed: Any = super().as_trimmed(*args, **others)  # pyright: ignore[reportAttributeAccessIssue]
        if trimmed is not None:
            trimmed.file_of = self  # which must outlive it
        return trimmed


def marks_of(video: Any) -> Marks:
    """What a video says of being made by AI, our own label aside."""
    if (own := _own(video)) is not None:
        return own.marks
    return read_marks(video.get_stream_source()) if isinstance(video, InputImpl.VideoFromFile) else Marks()


def labelling(video: Any, format: str, visible: Label | None = None) -> Labelling:
    """For what is saved: a video, or frames (None).

    Made by AI are our own videos, frames, since there is no telling where they come from, and whatever gets a visible
    label that says so.
    """
    own = _own(video)
    made = own is not None or video is None or visible is not None
    return Labelling(marks_of(video), made, format, "" if own is None else own.path.stem, visible)


def _own(video: Any) -> WorkingCopy | None:
    """The whole film that a video of ours shows, or shows a part of."""
    whole = getattr(video, "file_of", video)
    return whole if isinstance(whole, WorkingCopy) else None


def _remove(path: Path) -> None:
    with suppress(OSError):  # still being read on Windows: ComfyUI empties the folder when it starts
        path.unlink(missing_ok=True)
