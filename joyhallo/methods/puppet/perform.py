"""`perform`: a puppet speaks what was heard, in chunks of frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...film.write import as_bytes
from .head import Moves
from .hearing import Articulation
from .life import activity, blinks, head_moves
from .mouth import Shapes
from .render import Pose, Puppet

AT_ONCE = 1 << 21  # pixels of the moving window that are made together; two frames at least, for two cores
MOST_AT_ONCE = 16  # frames
TIMID, MOST_RAISED = 0.55, 1.6  # an ear that hears less than this at the widest is helped, by so much at most
ENOUGH = 50  # frames of speech from which that can be told
PLACED = 4 << 20  # pixels of whole pictures that are made at a time
ROWS = 32  # of a picture


@dataclass(frozen=True)
class Direction:
    """How strongly everything moves: one number each, or one for each frame (n). 1 is as heard, 0 is still."""

    strength: float | Tensor = 1.0  # of the mouth
    expressiveness: float | Tensor = 1.0  # brows and nods on stressed words
    blinks: float | Tensor = 1.0  # how often
    sway: float | Tensor = 1.0  # of the head, and breath
    seed: int = 0


@dataclass(frozen=True)
class Spoken:
    """A chunk: the window of the picture that moves."""

    index: int
    start: int
    frames: Tensor  # (n, 3, height, width) of the puppet's window


def poses(heard: Articulation, direction: Direction) -> Pose:
    """The whole film's."""
    strength, expressiveness, often, sway = (
        torch.as_tensor(value, dtype=torch.float32).expand(len(heard))
        for value in (direction.strength, direction.expressiveness, direction.blinks, direction.sway)
    )
    mild = strength.clamp(max=1.0)
    mouth = Shapes(
        heard.opening * strength * raised(heard),
        (heard.spread * strength).clamp(-1, 1),
        heard.rounding * mild,
        heard.press * mild,
        heard.teeth * mild,
    )
    return Pose(
        mouth,
        blinks(heard.loudness, often, direction.seed),
        head_moves(heard.loudness, sway, expressiveness, direction.seed),
    )


def raised(heard: Articulation) -> float:
    """The factor by which openings are made up for: the ear learnt from clear voices, and is cautious with others."""
    spoken = heard.opening[activity(heard.loudness) > 0.5]
    if len(spoken) < ENOUGH:
        return 1.0
    return min(MOST_RAISED, max(1.0, TIMID / max(float(spoken.quantile(0.95)), 1e-3)))


def at_once(puppet: Puppet) -> int:
    height, width = puppet.window.shape
    return max(2, min(MOST_AT_ONCE, AT_ONCE // (height * width)))


def perform(puppet: Puppet, pose: Pose) -> Iterator[Spoken]:
    size, device = at_once(puppet), puppet.still.device
    for index, start in enumerate(range(0, len(pose), size)):
        yield Spoken(index, start, puppet.frames(part(pose, slice(start, start + size), device)))


def part(pose: Pose, frames: slice, device: torch.device) -> Pose:
    def cut(value: Tensor) -> Tensor:
        return value[frames].to(device)

    def all_of(some: Shapes | Moves) -> dict[str, Tensor]:
        return {field.name: cut(getattr(some, field.name)) for field in fields(some)}

    return Pose(replace(pose.mouth, **all_of(pose.mouth)), cut(pose.blink), replace(pose.head, **all_of(pose.head)))


def placed(puppet: Puppet, picture: Tensor, chunk: Spoken) -> Iterator[Tensor]:
    """Whole pictures (n, height, width, 3), and the picture (height, width, 3), all of bytes, in the computer's own
    memory: what does not move is the picture's own."""
    still, window = picture.cpu().numpy(), puppet.window.slices
    for frames in chunk.frames.split(max(1, PLACED // picture[..., 0].numel())):
        made = np.empty((len(frames), *still.shape), np.uint8)
        if frames.device.type != "cpu":
            frames = as_bytes(frames, chunk.start).cpu()  # a quarter of what there is to carry
        for number, values in enumerate(frames.numpy()):
            _surround(made[number], still, *window)
            _place(made[(number, *window)], values)
        yield torch.from_numpy(made)


def _surround(made: NDArray[np.uint8], picture: NDArray[np.uint8], rows: slice, columns: slice) -> None:
    """Fill in what lies around the window."""
    above, below = slice(None, rows.start), slice(rows.stop, None)
    left, right = slice(None, columns.start), slice(columns.stop, None)
    for part_of in (above, below, (rows, left), (rows, right)):
        made[part_of] = picture[part_of]


def _place(made: NDArray[np.uint8], values: NDArray[np.float32] | NDArray[np.uint8]) -> None:
    """values (3, height, width), of bytes or in 0..1; some rows at a time, which stay in cache: twice as fast as by
    torch"""
    for start in range(0, len(made), ROWS):
        rows = slice(start, start + ROWS)
        for channel, levels in enumerate(_levels(values[:, rows])):
            made[rows, :, channel] = levels


def _levels(values: NDArray[np.float32] | NDArray[np.uint8]) -> NDArray[np.uint8]:
    if values.dtype == np.uint8:
        return values.view(np.uint8)
    levels = np.multiply(values, 255)
    return np.rint(levels, out=levels).clip(0, 255, out=levels).astype(np.uint8)
