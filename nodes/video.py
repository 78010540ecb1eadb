"""VIDEO values: read a few frames at a time wherever they lie in a file, and the file that the sampler makes."""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any
from weakref import finalize

import comfy.model_management
import torch
from comfy_api.latest import InputImpl, Types
from torch import Tensor

from ..joyhallo.files.fingerprint import of_file
from ..joyhallo.files.space import check_memory
from ..joyhallo.film.label import Label
from ..joyhallo.film.marks import Marks, read_marks
from ..joyhallo.film.read import AT_ONCE, Film, Reel, retimed
from ..joyhallo.film.write import HANDOVER, VideoError, as_bytes, as_floats, check_frames, frame_rate, pieces, write
from ..joyhallo.sound.audio import AudioError, Sound
from .labels import Labelling
from .places import working_folder
from .preview import stop
from .sockets import described

# What an mp4 of ours fulfils of the wishes of ComfyUI's nodes; of any other wish only None, which is none
PLAYABLE = {"format": ("auto", "mp4"), "codec": ("auto", "h264"), "bit_depth": (None, 8)}
TOLERANCE = 1e-6  # frames by which a time may miss the frame it means


def sound_of(audio: Any, name: str = "`audio`") -> Sound:
    """Of an AUDIO value; its samples are not looked at yet."""
    if not isinstance(audio, Mapping) or "waveform" not in audio or "sample_rate" not in audio:
        raise AudioError(f"{name} is {described(audio)}: no sound, as a silent video gives it. Connect a Load Audio.")
    return audio["waveform"], audio["sample_rate"]


def as_sound(audio: Any, name: str = "`audio`") -> Sound | None:
    return None if audio is None else sound_of(audio, name)


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
        if isinstance(video, LosslessVideo):
            return video.footage()
        if not is_whole_file(video):
            parts = video.get_components()
            return cls.of_frames(
                parts.images, parts.frame_rate, lambda: as_sound(_right_sound(video, parts.audio), "The video's sound")
            )
        film = film_of(video.get_stream_source())
        known, rate = film.facts, frame_rate(film.facts.rate)
        return cls(film.frames(rate), known.count, (known.width, known.height), rate, film.sound)

    @classmethod
    def of_frames(
        cls, images: Tensor, rate: Fraction | float, sound: Callable[[], Sound | None] = lambda: None
    ) -> Footage:
        check_frames(images)
        return cls(images.split(AT_ONCE), len(images), (images.shape[2], images.shape[1]), rate, sound)


@dataclass(frozen=True)
class Pictures:
    """A film by the numbers of its pictures, which are bytes, at a steady rate."""

    read: Callable[[int], Iterator[Tensor]]  # (height, width, 3), from a number on
    count: int  # as near as a file's own length tells
    size: tuple[int, int]  # width and height
    rate: Fraction
    key: Callable[[], str]  # tells films with other pictures apart
    marks: Marks = field(default_factory=Marks)
    counted: bool = True  # whether the count is exact

    @classmethod
    def of(cls, video: Any, rate: float) -> Pictures:
        """Of a VIDEO, in parts where it lies in a file, or of IMAGEs at a rate."""
        if isinstance(video, Tensor):
            return cls.of_images(video, frame_rate(rate))
        if isinstance(video, LosslessVideo):
            film, first, end = video.film(), video.first, video.first + video.count
            known, own = film.facts, _own(video)

            def numbered(start: int) -> Iterator[Tensor]:
                return map(torch.from_numpy, islice(film.pictures_from(first + start, known.rate), end - first - start))

            def key() -> str:
                made = "" if own is None else own.key
                return f"{made or of_file(video.path).result()} {first} {end}"

            return cls(numbered, video.count, (known.width, known.height), known.rate, key, marks_of(video))
        if not is_whole_file(video):
            parts = video.get_components()
            return replace(cls.of_images(parts.images, frame_rate(parts.frame_rate)), marks=marks_of(video))
        source = video.get_stream_source()
        film = film_of(source)
        known, own_rate = film.facts, frame_rate(film.facts.rate)

        def of_source() -> str:
            if isinstance(source, str | PathLike):
                return of_file(Path(source)).result()
            source.seek(0)
            return hashlib.sha256(source.read()).hexdigest()

        return cls(
            lambda start: map(torch.from_numpy, film.pictures_from(start, own_rate)),
            known.count,
            (known.width, known.height),
            own_rate,
            of_source,
            marks_of(video),
            counted=False,
        )

    @classmethod
    def of_images(cls, images: Tensor, rate: Fraction) -> Pictures:
        check_frames(images)

        def in_bytes(start: int) -> Iterator[Tensor]:
            for number, image in enumerate(images[start:].split(1), start):
                (piece,) = pieces(image, number)
                yield (piece if piece.dtype == torch.uint8 else as_bytes(piece))[0].movedim(0, 2).contiguous()

        def key() -> str:
            digest = hashlib.sha256()
            for picture in in_bytes(0):
                digest.update(picture.numpy().tobytes())
            return digest.hexdigest()

        return cls(in_bytes, len(images), (images.shape[2], images.shape[1]), rate, key)


def film_of(source: Any) -> Film:
    """One whose reading stops when the user cancels."""
    return Film(source, watch=stop)


def is_whole_file(video: Any) -> bool:
    """Whether all that a video shows is all that its file holds: newer versions of ComfyUI can trim."""
    if not isinstance(video, InputImpl.VideoFromFile):
        return False
    if not hasattr(video, "as_trimmed"):
        return True
    return video.get_duration() >= InputImpl.VideoFromFile(video.get_stream_source()).get_duration() - 1e-3


def reel_of(video: Any, rate: int) -> Reel:
    """Read as it is needed; what is no file, or is trimmed, must be held as a whole."""
    if is_whole_file(video):
        return Reel(film_of(video.get_stream_source()).frames(rate))
    parts = video.get_components()
    batches = retimed(parts.images, frame_rate(parts.frame_rate), rate)
    return Reel(as_floats(piece).movedim(1, -1) for batch in batches for piece in pieces(batch))


def _right_sound(video: Any, audio: Any) -> Any:
    """A video's own sound. Versions of ComfyUI that cannot trim videos misread what is not AAC, so it is read again."""
    if not isinstance(video, InputImpl.VideoFromFile) or hasattr(video, "as_trimmed"):
        return audio
    return as_audio(film_of(video.get_stream_source()).sound())


class SavedVideo(InputImpl.VideoFromFile):
    """For nodes that follow: with sound that is right in every version of ComfyUI."""

    def get_components_internal(self, container: Any) -> Any:
        components = super().get_components_internal(container)
        components.audio = _right_sound(self, components.audio)
        return components


class LosslessVideo(InputImpl.VideoFromFile):
    """Frames of a file of ours, which holds them as RGB, without loss.

    Few programs play that or pass it on unharmed, so whoever asks ComfyUI for a file gets another one.
    """

    def __init__(self, path: Path, first: int, count: int, **window: float):
        """window: the same part of the file in ComfyUI's terms, in seconds."""
        super().__init__(str(path), **window)
        self.path, self.first, self.count = path, first, count

    def footage(self) -> Footage:
        film = self.film()
        known, end = film.facts, self.first + self.count
        return Footage(
            _between(film.frames(), self.first, end),
            self.count,
            (known.width, known.height),
            known.rate,
            lambda: _heard_between(film.sound(), self.first / known.rate, end / known.rate),
        )

    def film(self) -> Film:
        return film_of(self.get_stream_source())

    def get_stream_source(self) -> str:
        if not self.path.is_file():
            raise VideoError(
                f"The video that this workflow made earlier, {self.path}, was deleted. Choose Unload Models and "
                "Execution Cache in ComfyUI's Edit menu, and run the workflow again."
            )
        return str(self.path)

    def get_dimensions(self) -> tuple[int, int]:
        self.get_stream_source()
        return super().get_dimensions()

    def get_duration(self) -> float:
        self.get_stream_source()
        return super().get_duration()

    def get_frame_count(self) -> int:
        return self.count

    def get_components(self) -> Any:
        """In one tensor made beforehand, where ComfyUI would hold every frame twice."""
        footage = self.footage()
        width, height = footage.size
        check_memory(
            f"Holding all {self.count} frames at once",
            self.count * height * width * 3 * torch.float32.itemsize,
            comfy.model_management.get_free_memory(torch.device("cpu")),
            "connect the video itself, to Save Talking Video or to another node that reads it piece by piece",
        )
        images, filled = torch.empty(self.count, height, width, 3), 0
        for batch in footage.batches:
            images[filled : filled + len(batch)] = batch
            filled += len(batch)
        audio = as_audio(footage.sound())
        return Types.VideoComponents(images=images[:filled], frame_rate=Fraction(footage.rate), audio=audio)

    def save_to(
        self, path: Any, format: Any = "auto", codec: Any = "auto", metadata: Any = None, **others: Any
    ) -> None:
        """As an mp4 that plays everywhere; any other wish is ComfyUI's to fulfil, from a file that it reads well."""
        if not _is_ordinary(path, {"format": format, "codec": codec, **others}):
            labels = _as_values(labelling(self, "mp4").labels.tags)
            with self._in_a_file("mov", HANDOVER) as file:
                kept = {**(metadata or {}), **labels}
                SavedVideo(str(file)).save_to(path, format=format, codec=codec, metadata=kept, **others)
        elif isinstance(path, str | PathLike):
            self._write(Path(path), "mp4", metadata)
        else:
            with self._in_a_file("mp4", "mp4", metadata) as file:
                path.write(file.read_bytes())

    @contextmanager
    def _in_a_file(self, suffix: str, format: str, metadata: Any = None) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(dir=working_folder()) as folder:
            path = Path(folder, f"video.{suffix}")
            self._write(path, format, metadata)
            yield path

    def _write(self, path: Path, format: str, metadata: Any) -> None:
        footage = self.footage()
        labels = None if format == HANDOVER else labelling(self, format).labels  # ComfyUI writes its own file from it
        write(path, footage.batches, footage.rate, footage.sound(), format, "high", metadata, labels)

    def as_trimmed(self, start_time: float = 0, duration: float = 0, strict_duration: bool = True) -> Any:
        """For newer versions of ComfyUI, which say what is too short: a part of it that is as safe to save."""
        newer: Any = super()
        if newer.as_trimmed(start_time, duration, strict_duration) is None:
            return None
        rate = self.film().facts.rate
        begin = max(0, start_time + self.count / rate) if start_time < 0 else start_time
        first = _frame_at(begin, rate)
        end = _frame_at(begin + duration, rate) if duration else self.count
        return Excerpt(self, first, max(0, min(end, self.count) - first), rate)


class WorkingCopy(LosslessVideo):
    """A video in our working folder that stays there as long as somebody needs it."""

    def __init__(self, path: Path, count: int, marks: Marks | None = None, key: str = ""):
        """marks: of what it was made from; key: of all that its pictures depend on, if that is known"""
        super().__init__(path, 0, count)
        self.marks, self.key = marks or Marks(), key
        finalize(self, _remove, path)


class MadeWhenNeeded(LosslessVideo):
    """A video in our working folder that is written when somebody first looks at it."""

    def __init__(self, count: int, make: Callable[[Path], object]):
        path = working_folder() / f"JoyHallo_{uuid.uuid4().hex}.mkv"
        super().__init__(path, 0, count)
        self.make, self.lock = make, threading.Lock()
        finalize(self, _remove, path)

    def get_stream_source(self) -> str:
        with self.lock:
            if not self.path.exists():
                self.make(self.path)
        return str(self.path)


class Excerpt(LosslessVideo):
    def __init__(self, whole: LosslessVideo, first: int, count: int, rate: Fraction):
        first += whole.first
        super().__init__(whole.path, first, count, start_time=float(first / rate), duration=float(count / rate))
        self.whole = whole  # which must outlive it


def _is_ordinary(path: Any, wishes: Mapping[str, Any]) -> bool:
    """Whether an mp4 of the highest ordinary quality is what is asked for."""
    named = Path(path).suffix.lower() in ("", ".mp4") if isinstance(path, str | PathLike) else True
    return named and all(value in PLAYABLE.get(name, (None,)) for name, value in wishes.items())


def _frame_at(seconds: float, rate: Fraction) -> int:
    """The first frame that begins at this time or later."""
    return math.ceil(seconds * rate - TOLERANCE)


def _between(batches: Iterable[Tensor], first: int, end: int) -> Iterator[Tensor]:
    seen = 0
    for batch in batches:
        part = batch[max(0, first - seen) : max(0, end - seen)]
        seen += len(batch)
        if len(part):
            yield part
        if seen >= end:
            return


def _heard_between(sound: Sound | None, begin: Fraction, end: Fraction) -> Sound | None:
    """In seconds."""
    if sound is None:
        return None
    waveform, rate = sound
    return waveform[:, round(begin * rate) : round(end * rate)], rate


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
    while isinstance(video, Excerpt):
        video = video.whole
    return video if isinstance(video, WorkingCopy) else None


def _as_values(tags: Mapping[str, str]) -> dict[str, Any]:
    """For ComfyUI, which turns metadata into JSON, as the label's record already is."""
    values = {}
    for name, text in tags.items():
        try:
            values[name] = json.loads(text)
        except ValueError:
            values[name] = text
    return values


def _remove(path: Path) -> None:
    with suppress(OSError):  # still being read on Windows: the folder goes when ComfyUI ends
        path.unlink(missing_ok=True)
