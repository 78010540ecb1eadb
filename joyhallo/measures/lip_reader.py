"""How well lips fit a voice, and by how many frames they are apart: `open_lip_reader`, then `Watching`, `heard`, `fit`.

A small network that this project trained, on drawn people and on puppets; it is not SyncNet, and its numbers are not
SyncNet's. It takes a fifth of a second of either: five crops of the mouth, in grey, and the twenty spectra of the same
time. `python -m joyhallo.training.small.lip_reader` trains it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..faces.boxes import Box
from ..faces.warp import read_at
from ..files.checkpoint import Checkpoint, check, check_floats, shapes
from ..files.contents import WeightsError, looks_like
from ..files.weights import open_weights
from ..ops import Ops, TorchOps
from ..sound.audio import Recording
from ..sound.bands import BANDS, PIECE, ROWS, excerpt, gain_of, spectra

BUNDLED = Path(__file__).with_name("lip_reader.safetensors")
KIND = "a lip reader"
WANTED = "a lip reader of joyhallo.training.small.lip_reader, such as the bundled lip_reader.safetensors."

WINDOW = 5  # frames that are read together
FURTHEST = 15  # frames that lips may be early or late
SHORTEST = 2 * FURTHEST  # windows; with fewer, a lag has too few pairs to be compared
FEATURES = 128

# Of a crop. Its unit is the face's side: the square root of the area of its box, from hairline to chin, ear to ear.
ROWS_SEEN, COLUMNS_SEEN = 48, 64
FINENESS = 80  # pixels of a crop for the side of a face
ABOVE_CHIN = 0.25  # where the middle of a crop is
STEADY = 9  # frames over which the place and size of a face are averaged
LUMA = torch.tensor([0.299, 0.587, 0.114])
FAINTEST_CONTRAST = 0.02
AT_ONCE = 16  # frames
MOST_SAMPLES = 4  # for each side of a crop's pixel, where the face is larger

# What spectra are about: the logarithm of a power.
USUAL, RANGE = -6.0, 1.5


# ---- the network


class Lips(nn.Module):
    """Crops of a mouth, in grey -> what it says in each five frames. No window sees another, nor is time padded."""

    def __init__(self, ops: Ops = TorchOps):
        super().__init__()
        widths = (1, 16, 32, 64, 96)
        sizes = (5, 3, 3, 3)
        self.convolutions = nn.ModuleList(
            ops.Conv2d(before, after, size, 2, size // 2)
            for before, after, size in zip(widths, widths[1:], sizes, strict=False)
        )
        self.norms = nn.ModuleList(ops.GroupNorm(4, width) for width in widths[1:])
        self.frame = ops.Linear(widths[-1] * ROWS_SEEN * COLUMNS_SEEN // 256, 128)
        self.window = ops.Conv1d(128, 256, WINDOW)
        self.tell = ops.Conv1d(256, FEATURES, 1)

    def forward(self, crops: Tensor) -> Tensor:
        """(batch, frames, 48, 64) in 0..1 -> (batch, frames - 4, FEATURES), of length 1"""
        x = _standardised(crops.flatten(0, 1))[:, None]
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = F.relu(norm(convolution(x)))
        frames = F.relu(self.frame(x.flatten(1))).unflatten(0, crops.shape[:2])
        told = self.tell(F.relu(self.window(frames.transpose(1, 2))))
        return F.normalize(told.transpose(1, 2), dim=2)


class Voice(nn.Module):
    """Spectra of a voice -> what it says in each five frames. No layer pads."""

    def __init__(self, ops: Ops = TorchOps):
        super().__init__()
        widths = (BANDS, 128, 128, 192)
        shapes = ((3, 1), (3, 1), (2 * ROWS, ROWS))  # the size and the step of each convolution
        self.convolutions = nn.ModuleList(
            ops.Conv1d(before, after, size, step)
            for before, after, (size, step) in zip(widths, widths[1:], shapes, strict=False)
        )
        self.norms = nn.ModuleList(ops.LayerNorm(width) for width in widths[1:])
        self.window = ops.Conv1d(widths[-1], 256, WINDOW - 2)
        self.tell = ops.Conv1d(256, FEATURES, 1)

    def forward(self, sound: Tensor) -> Tensor:
        """Spectra (batch, 4 frames, BANDS) -> (batch, frames - 4, FEATURES), of length 1"""
        x = (sound.transpose(1, 2) - USUAL) / RANGE
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = F.relu(norm(convolution(x).transpose(1, 2))).transpose(1, 2)
        told = self.tell(F.relu(self.window(x)))
        return F.normalize(told.transpose(1, 2), dim=2)


class LipReader(nn.Module):
    def __init__(self, ops: Ops = TorchOps):
        super().__init__()
        self.lips, self.voice = Lips(ops), Voice(ops)


def _standardised(crops: Tensor) -> Tensor:
    """Whatever the light."""
    deviation, mean = torch.std_mean(crops, (1, 2), keepdim=True)
    return (crops - mean) / deviation.clamp(min=FAINTEST_CONTRAST)


def open_lip_reader(path: str | Path = BUNDLED) -> Checkpoint[LipReader]:
    """Open the file of a lip reader, or raise a WeightsError that says what it is instead."""
    path = Path(path)
    state, _ = open_weights(path, WANTED)
    check_floats(path, state, WANTED)
    if "lips.window.weight" not in state or "voice.window.weight" not in state:
        raise WeightsError(f"{path.name} looks like {looks_like(state)}. Expected {WANTED}")
    check(path, state, shapes(LipReader), KIND)
    return Checkpoint(LipReader, state)


# ---- what is seen


def steady(boxes: Sequence[Box]) -> Tensor:
    """(frames, 3): the middle, the chin and the side of a face, whose boxes tremble and follow the jaw."""
    sides = np.array([[box.left, box.top, box.right, box.bottom] for box in boxes]).reshape(-1, 4)
    width, height = sides[:, 2] - sides[:, 0], sides[:, 3] - sides[:, 1]
    if not len(sides) or not np.isfinite(sides).all() or min(width.min(), height.min()) <= 0:
        raise ValueError("Boxes of a face are needed, one for each frame, each with some width and height.")
    faces = torch.from_numpy(np.stack([sides[:, [0, 2]].mean(1), sides[:, 3], np.sqrt(width * height)], axis=1))
    padded = F.pad(faces.T, (STEADY // 2, STEADY // 2), "replicate")
    return F.avg_pool1d(padded, STEADY, 1).T.float()


def crops(frames: Tensor, faces: Tensor, wider: float = 1.0) -> Tensor:
    """frames uint8 (n, height, width, 3), faces (n, 3) of `steady` -> (n, 48, 64) of grey in 0..1

    wider: how much more of a face is seen, at the same fineness. Borders are repeated.
    """
    rows, columns = round(ROWS_SEEN * wider), round(COLUMNS_SEEN * wider)
    middle, chin, side = faces.to(frames.device).unbind(1)
    fine = min(MOST_SAMPLES, max(1, math.ceil(float(side.max()) / FINENESS)))
    down = (chin - ABOVE_CHIN * side)[:, None] + side[:, None] * _places(rows, fine).to(side)
    across = middle[:, None] + side[:, None] * _places(columns, fine).to(side)
    vertical, horizontal = _reached(down, frames.shape[1]), _reached(across, frames.shape[2])
    grey = frames[:, vertical, horizontal].float() @ LUMA.to(frames.device) / 255
    down, across = (
        (places - part.start - 0.5) * (2 / max(1, part.stop - part.start - 1)) - 1
        for places, part in ((down, vertical), (across, horizontal))
    )
    grid = torch.stack(torch.broadcast_tensors(across[:, None], down[..., None]), dim=3)
    sampled = read_at(grey[:, None], grid)
    return F.avg_pool2d(sampled, fine)[:, 0]


def _reached(places: Tensor, size: int) -> slice:
    """The pixels of one side of a picture that samples at these places are made of, so that no other is converted."""
    first = min(max(0, math.floor(float(places.min())) - 1), size - 1)
    return slice(first, max(first + 1, min(size, math.ceil(float(places.max())) + 1)))


def _places(count: int, fine: int) -> Tensor:
    """Of samples along one side of a crop, in sides of the face from its middle."""
    return ((torch.arange(count * fine) + 0.5) / fine - count / 2) / FINENESS


@torch.no_grad()
def seen(reader: LipReader, pieces: Iterable[Tensor]) -> Tensor:
    """What lips say: crops (n, 48, 64), piece after piece -> (frames - 4, FEATURES), on the processor."""
    told, last = list[Tensor](), None
    for piece in pieces:
        last = piece if last is None else torch.cat([last, piece])
        if len(last) >= WINDOW:
            told.append(reader.lips(last[None])[0].cpu())
            last = last[1 - WINDOW :]
    return torch.cat(told) if told else torch.zeros(0, FEATURES)


class Watching:
    """What the lips of a film say, whose frames come piece after piece and whose face is known by a box in each."""

    def __init__(self, reader: LipReader, boxes: Sequence[Box]):
        self.reader, self._faces, self._count = reader, steady(boxes), 0
        self._told, self._last = list[Tensor](), list[Tensor]()

    def see(self, frames: Tensor) -> None:
        """uint8 (n, height, width, 3)"""
        known = self._faces[self._count :]
        if len(known) < len(frames):
            raise ValueError(
                f"There are boxes of {len(self._faces)} frames, but the film has {self._count + len(frames)} or more; "
                "give one for each frame."
            )
        for part, faces in zip(frames.split(AT_ONCE), known[: len(frames)].split(AT_ONCE), strict=True):
            cut = torch.cat([*self._last, crops(part, faces)])
            self._told.append(seen(self.reader, [cut]))
            self._last = [cut[1 - WINDOW :]]
        self._count += len(frames)

    @property
    def lips(self) -> Tensor:
        """(frames - 4, FEATURES)"""
        return torch.cat(self._told) if self._told else torch.zeros(0, FEATURES)


@torch.no_grad()
def heard(reader: LipReader, recording: Recording, device: torch.device | str = "cpu") -> Tensor:
    """What a voice says, however loud it was recorded -> (frames - 4, FEATURES), on the processor."""
    samples, frames = recording.samples, recording.frames
    gain, told = gain_of(samples), list[Tensor]()
    for start in range(0, frames - WINDOW + 1, PIECE):
        part = excerpt(samples, start, min(frames, start + PIECE + WINDOW - 1))
        told.append(reader.voice(spectra(part.to(device), gain)[None])[0].cpu())
    return torch.cat(told) if told else torch.zeros(0, FEATURES)


# ---- how they fit


@dataclass(frozen=True)
class Fit:
    """Of lips and a voice, at each lag: frames that the sound is early by, from -FURTHEST to FURTHEST."""

    similarities: Tensor  # (2 * FURTHEST + 1): means of cosines over the windows that there are at this lag
    each: Tensor  # cosines of the windows at the best lag

    @property
    def offset(self) -> int:
        """Frames that the sound is early by: picture i fits the sound of i - offset."""
        return int(self.similarities.argmax()) - FURTHEST

    @property
    def similarity(self) -> float:
        """At the best lag."""
        return float(self.similarities.max())

    @property
    def together(self) -> float:
        """As the film is."""
        return float(self.similarities[FURTHEST])

    @property
    def confidence(self) -> float:
        """How much better the best lag is than the middle one of all."""
        return self.similarity - float(self.similarities.median())


def fit(lips: Tensor, voice: Tensor) -> Fit:
    """Compare what was seen and heard, both (windows, FEATURES), which begin together."""
    count = min(len(lips), len(voice))
    if count < SHORTEST:
        raise ValueError(
            f"There are {max(0, count)} windows of {WINDOW} frames; {SHORTEST} are needed to compare lags. Choose a "
            f"film and a sound of {SHORTEST + WINDOW - 1} frames or more, at 25 a second."
        )
    lips, voice = lips[:count], voice[:count]
    cosines = [_cosines(lips, voice, lag) for lag in range(-FURTHEST, FURTHEST + 1)]
    similarities = torch.stack([values.mean() for values in cosines])
    return Fit(similarities, cosines[int(similarities.argmax())])


def _cosines(lips: Tensor, voice: Tensor, lag: int) -> Tensor:
    """Of picture i with the sound of i - lag, where there are both."""
    count = len(lips)
    return (lips[max(0, lag) : count + min(0, lag)] * voice[max(0, -lag) : count - max(0, lag)]).sum(1)
