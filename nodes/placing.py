"""What all nodes that put faces into a video have in common."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat

from torch import Tensor

from ..joyhallo.faces.blend import Blend
from ..joyhallo.faces.boxes import Size
from ..joyhallo.faces.find import FaceError
from ..joyhallo.faces.track import Track
from ..joyhallo.film.ahead import read_ahead
from ..joyhallo.film.lengths import Places, in_order
from ..joyhallo.film.write import COPY, write
from ..joyhallo.methods.redub import Crops, Observing, repainted
from ..joyhallo.methods.script import Script
from . import report
from .preview import stop
from .video import MadeWhenNeeded, Pictures

TOGETHER = 48 << 20  # pixels of whole pictures that are worked on at a time
WAITING = 16 << 20  # pixels of whole pictures that are read ahead


def at_once(film: Pictures, face: int = 0) -> int:
    """Pictures that are worked on at a time; face: pixels that each has beside its own."""
    width, height = film.size
    return max(1, TOGETHER // max(width * height, face))


def shown(film: Pictures, places: Places) -> Iterator[Tensor]:
    """Pictures as `places` says, read while others are worked on."""
    width, height = film.size
    return read_ahead(in_order(film.read, places), max(2, WAITING // (width * height)))


def checked_track(track: Track, film: Pictures) -> Track:
    """Its part for this video, if it was made in this one or in one that begins alike."""
    found, expected = (
        f"{report.sized(size)} at {float(rate):.6g} frames a second"
        for size, rate in ((track.size, track.rate), (film.size, film.rate))
    )
    if found != expected:
        raise FaceError(
            f"The face was tracked in a video of {found}, but this one has {expected}; connect the same video to both "
            "nodes."
        )
    if not film.counted:
        return track
    if len(track) < film.count:
        raise FaceError(
            f"The face was tracked in {len(track)} frames, but this video, which was made longer, has {film.count}; "
            "connect the face_track of the node that made it, or run Track Face on it."
        )
    return track.until(film.count)


def fitting(mask: Tensor, size: Size) -> Tensor:
    each = mask if mask.ndim == 3 else mask[None]
    found = each.shape[2], each.shape[1]
    if found != size:
        raise FaceError(
            f"The mask is {report.sized(found)} pixels, but the video {report.sized(size)}; paint it over a picture of "
            "this video."
        )
    return each


def mask_video(film: Pictures, crops: Crops, side: int, script: Script, blend: Blend) -> MadeWhenNeeded:
    """What was made anew, white on black."""
    width, height = film.size

    def frames() -> Iterator[Tensor]:
        looked_at = isinstance(crops, Observing)
        seen = in_order(film.read, script.places) if looked_at else repeat(None)
        for number, picture in zip(range(len(script)), seen, strict=False):
            stop()
            share = repainted(crops, side, script, number, blend, (height, width), picture)
            yield (share * 255).ceil_().byte()[None, ..., None].expand(1, height, width, 3)

    return MadeWhenNeeded(len(script), lambda path: write(path, frames(), film.rate, None, COPY))
