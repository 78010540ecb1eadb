"""What all nodes that put faces into a video have in common."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat

from torch import Tensor

from ..joyhallo.faces.blend import Blend
from ..joyhallo.faces.boxes import Size
from ..joyhallo.faces.find import FaceError
from ..joyhallo.faces.track import Track
from ..joyhallo.film.lengths import in_order
from ..joyhallo.film.write import COPY, write
from ..joyhallo.methods.redub import Crops, Observing, repainted
from ..joyhallo.methods.script import Script
from . import report
from .preview import stop
from .video import MadeWhenNeeded, Pictures


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
