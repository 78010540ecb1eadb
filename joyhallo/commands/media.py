"""Pictures, sounds and videos of any make, and the film that is written of what was made."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import repeat
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .. import SOFTWARE, __version__
from ..config import FPS
from ..faces.boxes import Picture, Size
from ..faces.picture import as_mask, as_picture
from ..faces.regions import Mask
from ..files.scratch import scratch
from ..film.ahead import write_behind
from ..film.label import CHINESE, ENGLISH, Label
from ..film.marks import Labels, Marks, read_marks, record
from ..film.read import Film
from ..film.write import FORMATS, as_bytes, frame_rate, write
from ..sound.audio import AudioError, Sound, read
from .jobs import MAKING, Job, Progress
from .places import PlaceError, checked_input

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif")
MOVING = ("GIF", "WEBP", "PNG", "AVIF")  # kinds of pictures that may move, by Pillow's names
VIDEOS = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".flv", ".wmv")
BEHIND = 2  # batches of pictures that wait to be written
VISIBLE = {
    "off": None,
    "zh": Label(CHINESE),
    "zh-whole": Label(CHINESE, None),
    "en": Label(ENGLISH),
    "en-whole": Label(ENGLISH, None),
}


def picture_of(path: Path, what: str = "picture") -> Picture:
    return as_picture(_opened(path, what))


def is_still(path: Path) -> bool:
    """Whether it is a picture, and not a video, which a GIF is that moves."""
    if path.suffix.lower() not in PICTURES:
        return False
    with _head(path, "picture") as image:
        moves = image.format in MOVING and getattr(image, "is_animated", False)
    if moves and image.format != "GIF":
        raise PlaceError(
            f"The picture {path} moves, and only a GIF can be read as a video; expected a still picture or a video. "
            "Convert it, to MP4 for example."
        )
    return not moves


def mask_of(path: Path, what: str) -> Mask:
    """A painted picture: what is white counts, or what is opaque where all is one colour."""
    image = _opened(path, what)
    if image.mode in ("RGBA", "LA", "PA") and len(set(image.convert("L").getextrema())) == 1:
        image = image.getchannel("A")
    return as_mask(image)


def _opened(path: Path, what: str) -> Image.Image:
    with _head(path, what) as image:
        image.load()
    return image


@contextmanager
def _head(path: Path, what: str) -> Iterator[Image.Image]:
    """Of a picture that is not decoded yet."""
    checked_input(path, what)
    try:
        with Image.open(path) as image:
            yield image
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise PlaceError(
            f"The {what} {path} cannot be read as a picture ({type(error).__name__}); expected a PNG, JPEG or WebP "
            "file, whole and undamaged."
        ) from error


def sound_of(path: Path) -> Sound:
    """Of a sound file, or of a video."""
    checked_input(path, "sound")
    if path.suffix.lower() not in VIDEOS:
        return read(path)
    sound = Film(path).sound()
    if sound is None:
        raise AudioError(f"The video {path} has no sound; give a recording of speech.")
    return sound


@dataclass(frozen=True)
class Source:
    """A video by the numbers of its pictures, or one picture that stays."""

    read: Callable[[int], Iterator[Tensor]]  # (height, width, 3) of bytes, from a number on
    count: int  # as near as a file's own length tells
    size: Size
    rate: Fraction
    marks: Marks = field(default_factory=Marks)

    @classmethod
    def of(cls, path: Path, rate: Fraction | None = None) -> Source:
        """rate: at which a video is read, instead of its own"""
        checked_input(path, "video")
        if is_still(path):
            still = torch.from_numpy(picture_of(path))
            size = still.shape[1], still.shape[0]
            return cls(lambda start: repeat(still, max(0, 1 - start)), 1, size, Fraction(FPS), read_marks(path))
        film = Film(path)
        facts, rate = film.facts, rate or frame_rate(film.facts.rate)

        def read_from(start: int) -> Iterator[Tensor]:
            return map(torch.from_numpy, film.pictures_from(start, rate))

        return cls(read_from, facts.count, (facts.width, facts.height), rate, read_marks(path))

    def counted(self, what: str, progress: Progress) -> Iterator[Picture]:
        """All pictures, with the progress of whoever looks at them."""
        for number, picture in enumerate(self.read(0), 1):
            yield picture.numpy()
            progress(what, number, max(number, self.count))


# ---- the film


@dataclass(frozen=True)
class Written:
    file: Path
    frames: int
    took: float
    marks: Marks


def film(
    job: Job, pictures: Iterable[Tensor], count: int, rate: Fraction, sound: Sound, marks: Marks, progress: Progress
) -> Written:
    """Write what comes while more is made. The file says that it is made by AI, and keeps what its source said.

    pictures: batches (n, height, width, 3) of bytes or in 0..1, `count` frames in all; marks: of what it is made from
    """
    begun = time.monotonic()
    ours = with_ours(marks, job.number or uuid.uuid4().hex)
    labels = Labels(ours.tags(), VISIBLE[job.options["label"]])
    form = form_of(job)

    def to(target: Path) -> None:
        def written(batches: Iterator[Tensor]) -> None:
            with torch.inference_mode():
                write(target, batches, rate, sound, form, job.options["quality"], labels=labels)

        write_behind(written, _counted(pictures, count, progress), BEHIND)

    job.output.parent.mkdir(parents=True, exist_ok=True)
    if job.replacing:
        with scratch(job.output.parent) as folder:
            target = folder / f"film.{form}"
            to(target)
            target.replace(job.output)
    else:
        to(job.output)
    return Written(job.output, count, time.monotonic() - begun, ours)


def depth_of(job: Job) -> int:
    """Bits of each colour in a film that loses nothing; 0 for one that does, and takes little room."""
    facts = FORMATS[form_of(job)]
    pixels = facts.grades[job.options["quality"]].pixels
    return pixels.bits if pixels.is_rgb else 0


def form_of(job: Job) -> str:
    return job.output.suffix.lower().removeprefix(".")


def with_ours(marks: Marks, number: str) -> Marks:
    """The marks of what a film is made from, and that it is made by AI. number: of the film"""
    return marks.with_ours(record(SOFTWARE, number), f"{SOFTWARE} {__version__}")


def _counted(batches: Iterable[Tensor], count: int, progress: Progress) -> Iterator[Tensor]:
    done = 0
    with torch.inference_mode():
        for batch in batches:
            frames = batch.cpu()
            yield frames if frames.dtype == torch.uint8 else as_bytes(frames, done)  # as nodes hand them on
            done += len(frames)
            progress(MAKING, done, count)


def as_tensor(mask: Mask) -> Tensor:
    """(height, width) in 0..1"""
    return torch.from_numpy(mask.astype(np.float32) / 255)
