"""`Script`: which picture each frame of a redubbed film shows, and how much of it is made anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..config import FPS, SAMPLE_RATE
from ..faces.track import gaps
from ..film.lengths import Places
from ..sound.audio import Recording, levels, video_frames
from ..sound.pauses import gate, pauses

FADE = 3  # frames over which what is made comes and goes, where the face does


@dataclass(frozen=True)
class Script:
    places: Places  # (frames): the number of its picture in the film
    amounts: NDArray[np.float32]  # (frames): how much of what is made counts; where it is 0 nothing is made

    def __len__(self) -> int:
        return len(self.places)

    @property
    def spoken(self) -> NDArray[np.bool_]:
        return np.asarray(self.amounts > 0)


def script(
    places: Places, usable: NDArray[np.bool_], cuts: Sequence[int], heard: int, wished: Tensor | None = None
) -> Script:
    """usable (pictures of the film): where there is a face; cuts: pictures that begin another shot.

    heard: frames from the first on that are spoken; wished (frames): how much of each is made, for all of it None.
    """
    amounts = presence(usable, cuts)[places]
    amounts[heard:] = 0
    if wished is not None:
        count = min(len(amounts), len(wished))
        amounts[:count] *= wished[:count].numpy().astype(np.float32)
    return Script(places, amounts)


def presence(usable: NDArray[np.bool_], cuts: Sequence[int]) -> NDArray[np.float32]:
    """(pictures): 1 with a face and 0 without; beside a gap within a shot it fades, so that nothing jumps."""
    amounts = usable.astype(np.float32)
    shots = {0, len(usable), *cuts}
    for gap in gaps(usable):
        for step in range(1, FADE + 1):
            share = step / (FADE + 1)
            before, after = gap.start - step, gap.stop - 1 + step
            if before >= 0 and not shots & set(range(before + 1, gap.start + 1)):
                amounts[before] = min(amounts[before], share)
            if after < len(usable) and not shots & set(range(gap.stop, after + 1)):
                amounts[after] = min(amounts[after], share)
    return amounts


# ---- pauses


def speaking(recording: Recording) -> Tensor:
    """(frames at 25 a second): 1 where somebody speaks, 0 in pauses, and in between on the way."""
    loudness = levels(recording.samples, video_frames(len(recording.samples)))
    return gate(pauses(loudness))


def at_frames(curve: Tensor, count: int, rate: float) -> Tensor:
    """A curve at 25 a second -> (count) at the film's rate, linear in between."""
    places = (torch.arange(count) * (FPS / rate)).clamp(max=len(curve) - 1)
    first = places.long()
    share = places - first
    return curve[first] * (1 - share) + curve[(first + 1).clamp(max=len(curve) - 1)] * share


def without_noise(recording: Recording, speaking: Tensor) -> Recording:
    """Silent where nobody speaks, so that breath and noise move no lips."""
    size = SAMPLE_RATE // FPS
    count = len(recording.samples)
    volume = F.interpolate(speaking[None, None], scale_factor=size, mode="linear", align_corners=False)[0, 0, :count]
    return replace(
        recording, samples=recording.samples * F.pad(volume, (0, count - len(volume)), value=float(speaking[-1]))
    )
