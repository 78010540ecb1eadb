"""Redubbing: the lips of any film follow another recording. What a method must offer, and the loop that uses it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from fractions import Fraction
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..faces.blend import Blend, Patch, blended
from ..faces.track import Track
from ..film.batches import batches
from ..sound.audio import Recording
from .chunks import Kept, Progress
from .script import Script

OnStep = Callable[[int, int, Tensor | None], None]  # steps of this chunk: done, in all; latents, if there are any


class RedubError(RuntimeError):
    """Why a film cannot be redubbed, in words for whoever wished it."""


def check_numbers(pictures: Tensor, dtype: torch.dtype, beside: str = "VAE") -> None:
    """Of what a network made that computes in a dtype. beside: the other network that may be the cause."""
    if pictures.isfinite().all():
        return
    cause = (
        f"Some graphics cards do so in {str(dtype).removeprefix('torch.')}: choose fp32 as weight_dtype, and a "
        f"{beside} in full precision."
        if dtype.itemsize < 4
        else f"The model's file or that of its {beside} is damaged: download it again."
    )
    raise RedubError(f"The faces came out as no numbers at all. {cause}")


class Crops(Protocol):
    """Where the face is in each frame of a film, and how it goes back. `frames`: the film's numbers of the pictures."""

    @property
    def usable(self) -> NDArray[np.bool_]:
        """(frames of the film): where there is something to cut."""
        ...

    def cut(self, pictures: Tensor, frames: Sequence[int]) -> Tensor:
        """(n, height, width, 3) of bytes -> (n, 3, size, size), in the method's own terms"""
        ...

    def patch(self, crop: Tensor, frame: int) -> Patch | None:
        """What a crop (3, size, size) puts into its picture; None where it lies outside."""
        ...


@runtime_checkable
class Observing(Protocol):
    """Beside `Crops`: those whose patches also depend on what surrounds them in their pictures."""

    def observing(self, pictures: Tensor, frames: Sequence[int]) -> Crops:
        """For these pictures alone, (n, height, width, 3) of bytes."""
        ...


class Windows(Protocol):
    """What is heard at each frame; a tensor is one."""

    def __len__(self) -> int: ...

    def __getitem__(self, frames: list[int], /) -> Tensor: ...


@dataclass(frozen=True)
class Wishes:
    """What may be wished of a method, with each one's own numbers as the default; not every method knows every wish."""

    seed: int = 0
    steps: int = 0  # 0: the method's own number
    guidance: float = 0.0  # 0: the method's own
    strength: float = 1.0  # with which the mouth follows the sound
    sync_offset: float = 0.0  # milliseconds by which the lips come later
    cover_tail: bool = False  # as many frames as the sound lasts, even if the original makes fewer
    smoothing: str = "original"  # of the boxes over time: original, centred, none
    pads: tuple[int, int, int, int] = (0, 10, 0, 0)  # pixels added to a box: top, bottom, left, right
    area: str = ""  # what of a crop is made anew, by the method's own names; "": its usual
    shift: int = 0  # pixels by which a box starts lower
    reuse: int = 1  # steps that share what the deep layers found
    solver: str = "ddim"
    joints: str = "blocks"  # of long sound that is heard in parts: blocks, as in the original, or overlapped

    def ignored(self, known: frozenset[str]) -> list[str]:
        """Those that differ from the default, though a method does not know them."""
        return [one.name for one in fields(self) if one.name not in known and getattr(self, one.name) != one.default]


class Codec(Protocol):
    """Between pixels (n, 3, height, width), about -1..1 and not clamped, and latents of unit variance."""

    def encode(self, pixels: Tensor) -> Tensor:
        """The mean of what a picture may stand for."""
        ...

    def decode(self, latents: Tensor) -> Tensor: ...


VAE_PIXELS = 512 * 512  # that go through a VAE at a time: of sixteen large frames it alone would hold 6 GiB


def in_parts(work: Callable[[Tensor], Tensor], frames: Tensor, size: int, device: torch.device | str) -> Tensor:
    """work: of a `Codec`, in which nothing goes over frames; size: their side in pixels. A CPU takes one at a time."""
    few = 1 if torch.device(device).type == "cpu" else max(1, VAE_PIXELS // size**2)
    return torch.cat([work(part).to(device) for part in frames.split(few)])


class Ready(Protocol):
    def __call__(self, network: Any, memory: int = 0) -> Any:
        """Make a network ready to compute, beside which it needs so many bytes, and give it back.

        To be called before each use: what another network needs may have put it away.
        """
        ...


def as_it_is(network: Any, memory: int = 0) -> Any:
    return network


@dataclass(frozen=True)
class Engine:
    """What a method works with, and where that computes."""

    network: Any
    device: torch.device | str = "cpu"
    dtype: torch.dtype = torch.float32
    parts: Mapping[str, Any] = field(default_factory=dict)  # by the names in METHODS: "vae" is a Codec
    version: str = ""  # of a method whose versions no file tells apart
    fingerprints: Mapping[str, str] = field(default_factory=dict)  # of parts, by which their work is known again
    ready: Ready = as_it_is


class Redubber(Protocol):
    """A method. `speak` is a function of its arguments alone, so that any batch may be done anywhere, at any time."""

    @property
    def size(self) -> int:
        """Side of the crops, in pixels."""
        ...

    @property
    def at_once(self) -> int:
        """Frames that are done together."""
        ...

    @property
    def known(self) -> frozenset[str]:
        """Those of the wishes that change something."""
        ...

    @property
    def memory(self) -> int:
        """Bytes that `speak` needs on the device, beside weights."""
        ...

    @property
    def stored(self) -> torch.dtype:
        """Of the crops that speak."""
        ...

    def crops(self, track: Track) -> Crops: ...

    def listen(self, recording: Recording, rate: Fraction) -> Windows:
        """At the film's rate, or at the one that the method knows."""
        ...

    def speak(self, crops: Tensor, heard: Tensor, on_step: OnStep) -> Tensor:
        """(n, 3, size, size) and what is heard at each -> the same crops, speaking; n is at most `at_once`."""
        ...


@dataclass(frozen=True)
class Redubbed:
    """A chunk of the result: its pictures as they were, and the crops of those that speak."""

    index: int
    start: int  # number of the first picture in the result
    pictures: Tensor  # (n, height, width, 3), of bytes
    frames: Tensor  # (up to n, 3, size, size)
    at: tuple[int, ...]  # places of these among the pictures


def redub(
    redubber: Redubber,
    pictures: Iterable[Tensor],
    crops: Crops,
    windows: Windows,
    script: Script,
    *,
    device: torch.device | str = "cpu",
    on_progress: Callable[[Progress], None] | None = None,
    kept: Kept | None = None,
    some: range | None = None,
) -> Iterator[Redubbed]:
    """A film in chunks.

    pictures: (height, width, 3) of bytes, one for each frame of the script, read as they are needed. What `kept` has
    is not computed again. some: numbers of chunks, which know nothing of the others; pictures are those of their frames
    """
    count = chunk_count(redubber, script)
    numbers = range(count) if some is None else some
    starts = [index * redubber.at_once for index in numbers]
    lengths = (min(redubber.at_once, len(script) - start) for start in starts)
    for index, start, read in zip(numbers, starts, batches(pictures, lengths), strict=True):
        batch = read.to(device)
        at = (start + np.flatnonzero(script.spoken[start : start + len(batch)])).tolist()
        spoken = None if kept is None or not at else kept.read(index)
        if not at:
            spoken = batch.new_zeros(0, 3, redubber.size, redubber.size)
        elif spoken is None:
            faces = batch if len(at) == len(batch) else batch[[one - start for one in at]]
            seen = crops.cut(faces, script.places[at].tolist())
            spoken = redubber.speak(seen, windows[at], _reporter(on_progress, index, count))
            if kept is not None:
                kept.write(index, F.pad(spoken, (0, 0, 0, 0, 0, 0, 0, redubber.at_once - len(spoken))))
        frames = spoken[: len(at)].to(batch.device)
        yield Redubbed(index, start, batch, frames, tuple(one - start for one in at))


def placed(chunk: Redubbed, crops: Crops, script: Script, blend: Blend) -> Tensor:
    """The pictures of a chunk (n, height, width, 3), of bytes, those with a crop speaking."""
    if chunk.at and isinstance(crops, Observing):
        frames = script.places[[chunk.start + at for at in chunk.at]].tolist()
        crops = crops.observing(chunk.pictures[list(chunk.at)], frames)
    for crop, at in zip(chunk.frames, chunk.at, strict=True):
        number = chunk.start + at
        frame = int(script.places[number])
        if (patch := crops.patch(crop, frame)) is not None:
            weights, amount = blend.of(patch, frame), float(script.amounts[number])
            blended(chunk.pictures[at], patch, weights, amount, blend.matched)
    return chunk.pictures


def repainted(
    crops: Crops,
    size: int,
    script: Script,
    number: int,
    blend: Blend,
    shape: tuple[int, int],
    picture: Tensor | None = None,
) -> Tensor:
    """How much of a frame of the result is made anew (height, width), in 0..1.

    picture: (height, width, 3) of bytes; without it, crops that would look at it say what they expect.
    """
    found, frame = torch.zeros(shape), int(script.places[number])
    if picture is not None and script.spoken[number] and isinstance(crops, Observing):
        crops = crops.observing(picture[None], [frame])
    if script.spoken[number] and (patch := crops.patch(torch.zeros(3, size, size), frame)):
        weights = blend.of(patch, frame)
        found[patch.box.slices] = float(script.amounts[number]) * (1 if weights is None else weights)
    return found


def chunk_count(redubber: Redubber, script: Script) -> int:
    return -(-len(script) // redubber.at_once)


def _reporter(on_progress: Callable[[Progress], None] | None, index: int, count: int) -> OnStep:
    def report(done: int, total: int, estimate: Tensor | None) -> None:
        if on_progress is not None:
            on_progress(Progress(index * total + done, count * total, estimate))

    return report
