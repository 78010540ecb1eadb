"""What all nodes that score videos have in common: a video's name, its sound, and its frames in pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import comfy.utils
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..joyhallo.config import FPS
from ..joyhallo.faces.track import Track
from ..joyhallo.film.lengths import Places, in_order
from ..joyhallo.film.read import at_rate
from ..joyhallo.measures import streamed
from ..joyhallo.measures.scores import Scores
from ..joyhallo.measures.table import MEASURES
from ..joyhallo.sound.audio import AudioError, Recording, Sound, prepare
from . import report
from .preview import stop
from .video import Footage, LosslessVideo, Pictures, sound_of


def name_of(video: Any) -> str:
    """That of the user's file, if it is one."""
    source = None if isinstance(video, Tensor | LosslessVideo) else _source(video)
    return Path(source).stem if isinstance(source, str) else ""


def _source(video: Any) -> Any:
    ask = getattr(video, "get_stream_source", None)
    # What is not in a file would be encoded to answer.
    return ask() if ask is not None and hasattr(video, "get_components_internal") else None


def audible(value: Any) -> Sound:
    """A sound, or that of a video."""
    if not hasattr(value, "get_components"):
        return sound_of(value)
    sound = Footage.of(value).sound()
    if sound is None:
        raise AudioError("The video has no sound; connect it to audio.")
    return sound


def heard(video: Any, audio: Any) -> Recording:
    """The sound that is given, or the video's own."""
    if audio is None and isinstance(video, Tensor):
        raise AudioError("Images have no sound; connect it to audio.")
    recording = prepare(*audible(video if audio is None else audio), stop)
    if not recording.samples.any():
        raise AudioError("The sound is silent: every sample is zero, so no lips can fit it. Connect the speech.")
    return recording


def pieces(pictures: Iterable[Tensor]) -> Iterator[Tensor]:
    """Some at a time, as bytes; cancelling takes effect with the next ones."""
    for some in streamed.pieces(pictures):
        stop()
        yield some


def progress(frames: int) -> Callable[[int], None]:
    """A function that shows how many frames are done, and stops if the user cancelled."""
    bar = comfy.utils.ProgressBar(max(1, frames))

    def show(done: int) -> None:
        stop()
        bar.update_absolute(done, max(done, frames))

    return show


@dataclass(frozen=True)
class Speaking:
    """A video at the rate of speech, with its face in each frame."""

    film: Pictures
    places: Places  # (frames): the video's own frame that each shows
    boxes: NDArray[np.float32]  # (frames, 4)
    cuts: tuple[int, ...]

    @classmethod
    def of(cls, film: Pictures, track: Track) -> Speaking:
        timed = ((number / track.rate, number) for number in range(len(track)))
        places = np.fromiter(at_rate(timed, FPS, 1 / track.rate), np.int64)
        cuts = tuple(np.searchsorted(places, track.cuts).tolist())
        return cls(film, places, track.boxes[places], cuts)

    def __len__(self) -> int:
        return len(self.places)

    def pieces(self) -> Iterator[Tensor]:
        return pieces(in_order(self.film.read, self.places))


def about(film: Pictures, frames: int) -> str:
    """A line of a report."""
    seconds = float(frames / film.rate)
    return f"{report.sized(film.size)}, {frames} frames at {rounded(film.rate)} a second, {seconds:.2f} s"


def rounded(rate: Fraction) -> str:
    return f"{float(rate):.6g}"


def told(scores: Scores) -> list[str]:
    """A line for each measure, with its controls, and what is to be known of it."""
    lines = []
    for name in scores.names:
        measure = MEASURES[name]
        value = shown(scores, name)
        controls = [
            f"{control} {values[name]:{measure.form}}" for control, values in scores.controls.items() if name in values
        ]
        beside = f" ({', '.join(controls)})" if controls else ""
        lines.append(f"{measure.title}: {value}{beside}")
    silent = [f"- {MEASURES[name].title}: {why}" for name in scores.names if (why := scores.silent(name))]
    return [*lines, *(["These say nothing here:", *silent] if silent else []), *(f"- {note}" for note in scores.notes)]


def shown(scores: Scores, name: str) -> str:
    measure = MEASURES[name]
    if name not in scores.values:
        return f"none; {scores.missing[name]}"
    return f"{scores.values[name]:{measure.form}} {measure.unit}".rstrip()
