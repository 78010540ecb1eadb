"""Films with their frames at any time, in any kind of pixels, turned any way."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray


def made(
    path: Path,
    pictures: Iterable[NDArray[np.uint8]],
    times: Callable[[int], Fraction] = lambda index: Fraction(index, 25),
    rate: Fraction | int = 25,
    codec: str = "ffv1",
    pixels: str = "bgr0",
    clock: int = 90_000,  # ticks of the time stamps in a second
    source: str = "rgb24",  # of the pictures
    **facts: Any,
) -> Path:
    """facts: of the stream, by the names that PyAV has for them; or its rotation, counter-clockwise, or its matrix"""
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=rate)
        stream.pix_fmt = pixels
        stream.codec_context.time_base = Fraction(1, clock)
        for name, value in facts.items():
            if name in ("rotation", "matrix"):
                {"rotation": stream.set_display_rotation, "matrix": stream.set_display_matrix}[name](value)
            elif name == "options":
                stream.options = value
            else:
                setattr(stream.codec_context, name, value)
        for index, picture in enumerate(pictures):
            if not index:
                stream.height, stream.width = picture.shape[:2]
            frame = av.VideoFrame.from_ndarray(picture, source)
            frame.pts, frame.time_base = round(times(index) * clock), Fraction(1, clock)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def numbered(count: int, size: tuple[int, int] = (32, 32)) -> list[NDArray[np.uint8]]:
    """Each is as bright as its number."""
    return [np.full((size[1], size[0], 3), index, np.uint8) for index in range(count)]
