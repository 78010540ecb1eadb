"""What the mouth does while it says a recording: `open_ear`, then `listen`.

A small convolutional network reads log-mel spectra, a third of a second around each video frame, and tells how far the
lips are open, wide, rounded, pressed, or under the teeth. `python -m joyhallo.training.small.ear` trains it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...config import check_count
from ...files.contents import WeightsError, looks_like
from ...files.weights import open_weights
from ...sound.audio import Recording, levels
from ...sound.bands import BANDS, PIECE, ROWS, excerpt, gain_of, spectra

BUNDLED = Path(__file__).with_name("ear.safetensors")
EXPECTED = "an ear of the puppet, such as the bundled ear.safetensors"
HEARD = ("opening", "spread", "rounding", "press", "teeth")  # what the network tells, in order
LOWEST = torch.tensor([0.0, -1.0, 0.0, 0.0, 0.0])

NEARBY = 12  # frames
MURMUR = (0.2, 0.3)  # the widest opening nearby that is none, and that is one
MOST_BLOCKS = 100


@dataclass(frozen=True)
class Articulation:
    """Float32 tensors of one number for each video frame, at its middle."""

    opening: Tensor  # 0..1
    spread: Tensor  # of the corners: -1 rounded, 1 wide
    rounding: Tensor  # 0..1: lips pursed and pushed forward
    press: Tensor  # 0..1: lips pressed together, as in b, p, m
    teeth: Tensor  # 0..1: the lower lip under the upper teeth, as in f, v
    loudness: Tensor  # dB of full scale

    def __len__(self) -> int:
        return len(self.opening)


class Block(nn.Module):
    """Hears one frame further to either side; its output is so much shorter."""

    def __init__(self, width: int):
        super().__init__()
        self.before, self.around = nn.BatchNorm1d(width), nn.Conv1d(width, width, 3, bias=False)
        self.between, self.within = nn.BatchNorm1d(width), nn.Conv1d(width, width, 1)
        nn.init.zeros_(self.within.weight)  # at first a block changes nothing

    def forward(self, x: Tensor) -> Tensor:
        heard = self.around(F.relu(self.before(x)))
        return x[..., 1:-1] + self.within(F.relu(self.between(heard)))


class Ear(nn.Module):
    """Log-mel spectra -> what the mouth does. No layer pads, so results do not depend on where sound is cut."""

    gain: Tensor  # (HEARD): makes up for the caution of a least-squares fit
    idle: Tensor  # an opening that silence may seem to have
    pressed: Tensor  # presses at which lips begin to meet, and are shut

    def __init__(self, fine: int = 64, width: int = 112, blocks: int = 7):
        super().__init__()
        self.bands = nn.BatchNorm1d(BANDS)
        self.spectrum = nn.Conv1d(BANDS, fine, 3)
        self.frame = nn.Conv1d(fine, width, 2 * ROWS, ROWS)
        self.blocks = nn.Sequential(*(Block(width) for _ in range(blocks)))
        self.tell = nn.Conv1d(width, len(HEARD), 1)
        self.register_buffer("gain", torch.ones(len(HEARD)))
        self.register_buffer("idle", torch.zeros(()))
        self.register_buffer("pressed", torch.tensor([1.0, 2.0]))

    @property
    def reach(self) -> int:
        """Frames that are heard on either side."""
        return 1 + len(self.blocks)

    def forward(self, spectra: Tensor) -> Tensor:
        """(batch, rows, bands) of frames with `reach` more on either side -> (batch, frames, HEARD), unbounded"""
        x = F.relu(self.spectrum(self.bands(spectra.transpose(1, 2))))
        x = self.blocks(self.frame(x[..., 1:]))
        return self.tell(F.relu(x)).transpose(1, 2)

    def bounded(self, told: Tensor) -> Tensor:
        """What forward told, within its bounds, and shut where lips are pressed."""
        told = torch.minimum(torch.maximum(told * self.gain, LOWEST.to(told)), torch.ones_like(told))
        low, high = self.pressed
        shut = ((told[..., HEARD.index("press")] - low) / (high - low)).clamp(0, 1)
        opening = F.relu(told[..., 0] - self.idle) / (1 - self.idle) * (1 - shut)
        return torch.cat([opening[..., None], told[..., 1:]], dim=-1)


def open_ear(path: str | Path = BUNDLED, device: torch.device | str = "cpu") -> Ear:
    """Read an ear from its file. What it hears is computed where its weights are."""
    path = Path(path)
    state, _ = open_weights(path, f"{EXPECTED}.")
    try:
        blocks = sum(key.endswith(".within.weight") for key in state)
        check_count("the number of blocks", blocks, MOST_BLOCKS)
        with torch.device("meta"):
            ear = Ear(len(state["spectrum.weight"]), len(state["frame.weight"]), blocks)
        dtypes = {name: tensor.dtype for name, tensor in ear.state_dict().items()}
        ear.load_state_dict({name: tensor.to(dtypes[name]) for name, tensor in state.items()}, assign=True)
    except (LookupError, RuntimeError, TypeError, ValueError) as error:
        raise WeightsError(f"{path} looks like {looks_like(state)}; expected {EXPECTED}.") from error
    return ear.requires_grad_(False).eval().to(device)


@torch.no_grad()
def listen(ear: Ear, recording: Recording, piece: int = PIECE) -> Articulation:
    """How the mouth moves that says the recording, however loud it was recorded."""
    samples, frames = recording.samples, recording.frames
    gain = gain_of(samples)
    told = list[Tensor]()
    for start in range(0, frames, piece):
        heard = excerpt(samples, start - ear.reach, min(frames, start + piece) + ear.reach).to(ear.gain)
        told.append(ear.bounded(ear(spectra(heard, gain)[None]))[0].cpu())
    opening, *others = torch.cat(told).unbind(dim=1)
    return Articulation(where_spoken(opening), *others, loudness=levels(samples, frames))


def where_spoken(opening: Tensor) -> Tensor:
    """Shut where the mouth hardly opens for half a second on either side: that is noise, not speech."""
    low, high = MURMUR
    widest = F.max_pool1d(opening[None, None], 2 * NEARBY + 1, 1, NEARBY)[0, 0]
    return opening * ((widest - low) / (high - low)).clamp(0, 1)
