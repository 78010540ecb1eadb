"""How well a puppet's ear hears: `figures`; and `calibrated`, which makes up for the caution of least squares."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ...config import FPS, SAMPLE_RATE
from ...drawn.speaking import recorded_sound
from ...drawn.voice import ENGLISH, MANDARIN
from ...measures.curves import correlation
from ...methods.puppet.hearing import HEARD, Ear, listen
from ...sound.audio import Recording
from .hearing import room_tone
from .takes import Take

SHUT = 0.05  # an opening that nobody sees
RANGE = torch.tensor([0.05, 0.95])
CLOSED = 0.97  # of the closures in training are heard at least
PRESSES = (0.35, 0.6)  # of the press at which lips are shut
BEGUN = 0.6  # of that press begins to close them
STILL = 0.99  # of the frames without speech are quite shut
MOST_IDLE = 0.06
MOST_GAIN = 1.5
SILENCES = 8
TALLER = 1.12  # by which some are taller or smaller than espeak-ng's voices


# ---- calibration


@torch.no_grad()
def calibrated(ear: Ear, spoken: Sequence[Take], dice: np.random.Generator) -> Ear:
    """The ear with factors, thresholds of its press and an idle opening that are chosen on training data."""
    ear, again, press = copy.deepcopy(ear), [*spoken, *spoken], HEARD.index("press")
    sounds = [*(take.sound for take in spoken), *(recorded_sound(take.sound, dice) for take in spoken)]
    wanted, told = torch.cat([take.mouth for take in again]), hear(ear, sounds)
    there, heard = spread_of(wanted), spread_of(told)
    ear.gain.copy_((there / heard).where((heard > 0.05) & (there > 0), torch.ones(())).clamp(0.8, MOST_GAIN))
    parts = (told[:, press] * ear.gain[press]).split(lengths(again))
    peaks = torch.cat([within(part, take.closures).amax(1) for part, take in zip(parts, again, strict=True)])
    shut = peaks.quantile(1 - CLOSED).clamp(*PRESSES) if len(peaks) else torch.tensor(PRESSES[1])
    ear.pressed.copy_(torch.stack([BEGUN * shut, shut]))
    ear.idle.copy_(hear(ear, silence(dice))[:, 0].quantile(STILL).clamp(max=MOST_IDLE))
    ear.gain[0] *= (there[0] / spread_of(hear(ear, sounds))[0]).clamp(0.8, MOST_GAIN)
    return ear


def hear(ear: Ear, sounds: Sequence[Tensor]) -> Tensor:
    """(frames, HEARD) of all sounds, one after the other."""
    heard = (listen(ear, Recording(sound)) for sound in sounds)
    return torch.cat([torch.stack([getattr(each, name) for name in HEARD], dim=1) for each in heard])


def spread_of(curves: Tensor) -> Tensor:
    """From the lower to the upper end of what each curve usually does."""
    low, high = curves.quantile(RANGE.to(curves), dim=0)
    return high - low


def lengths(spoken: Sequence[Take]) -> list[int]:
    return [len(take.mouth) for take in spoken]


def within(curve: Tensor, closures: Tensor) -> Tensor:
    """(closures, frames): the curve from a frame before each closure to a frame after, whose value is repeated."""
    first = (closures[:, 0] * FPS).floor().long() - 1
    last = (closures[:, 1] * FPS - 1e-4).floor().long() + 1
    longest = int((last - first).max().item()) + 1 if len(closures) else 1
    places = torch.minimum(first[:, None] + torch.arange(longest), last[:, None])
    return curve[places.clamp(0, len(curve) - 1)]


def silence(dice: np.random.Generator) -> list[Tensor]:
    tones = [room_tone(4 * SAMPLE_RATE, dice) for _ in range(SILENCES)]
    return [torch.zeros(4 * SAMPLE_RATE), *tones]


# ---- figures


def figures(ear: Ear, others: Sequence[Take], dice: np.random.Generator) -> dict[str, Any]:
    """Accuracy on words and voices outside training, clean and as recorded."""
    found: dict[str, Any] = {}
    for name, language in (("Mandarin", MANDARIN), ("English", ENGLISH)):
        if some := [take for take in others if take.voice.startswith(language)]:
            found[name] = agreement(ear, [take.sound for take in some], some)
            varied = [recorded_sound(take.sound, dice) for take in some]
            found[f"{name}, varied gain, rooms, noise"] = agreement(ear, varied, some)
            tracts = [of_another_size(take, TALLER if number % 2 else 1 / TALLER) for number, take in enumerate(some)]
            found[f"{name}, taller and smaller"] = agreement(ear, [take.sound for take in tracts], tracts)
    still = silence(dice)
    found["highest opening in digital silence"] = hear(ear, still[:1])[:, 0].max().item()
    found["highest opening in room tone"] = hear(ear, still[1:])[:, 0].max().item()
    return found


def agreement(ear: Ear, sounds: Sequence[Tensor], spoken: Sequence[Take]) -> dict[str, Any]:
    """How well what is heard agrees with the truth, and, as a control, with that of the next take."""
    heard, wanted = hear(ear, sounds), torch.cat([take.mouth for take in spoken])
    shuffled = torch.cat([take.mouth for take in (*spoken[1:], spoken[0])])[: len(heard)]
    shuffled = F.pad(shuffled, (0, 0, 0, len(heard) - len(shuffled)))
    span = spread_of(heard) / spread_of(wanted)
    jumps = [curves[:, 0].diff().abs() for curves in (heard, wanted)]
    steepest = [jump.quantile(0.99).item() for jump in jumps]
    return {
        "correlation": _by_name(correlation(*pair) for pair in _columns(heard, wanted)),
        "correlation, shuffled": _by_name(correlation(*pair) for pair in _columns(heard, shuffled)),
        "range of opening and spread": [round(each, 3) for each in span[:2].tolist()],
        "closures": round(_closed(heard, spoken), 3),
        "closures, shuffled": round(_closed(heard, [*spoken[1:], spoken[0]]), 3),
        "shut where it should be open": round(((heard[:, 0] < SHUT) & (wanted[:, 0] > 0.3)).float().mean().item(), 4),
        "steepest jump": round(steepest[0] / steepest[1], 3),
    }


def _columns(one: Tensor, other: Tensor) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(a.numpy(), b.numpy()) for a, b in zip(one.unbind(1), other.unbind(1), strict=True)]


def _by_name(values: Any) -> dict[str, float]:
    return {name: round(value, 3) for name, value in zip(HEARD, values, strict=True)}


def _closed(heard: Tensor, spoken: Sequence[Take]) -> float:
    """Share of the closures in which the mouth shuts."""
    parts = zip(heard[:, 0].split(lengths(spoken)), spoken, strict=True)
    return torch.cat([within(part, take.closures).amin(1) for part, take in parts]).le(SHUT).float().mean().item()


def of_another_size(take: Take, factor: float) -> Take:
    """The take played faster or slower, as a smaller or larger speaker would say it."""
    frames = int(len(take.mouth) / factor)
    places = (torch.arange(frames * (SAMPLE_RATE // FPS)) + 0.5) * factor - 0.5
    sound = np.interp(places.numpy(), np.arange(len(take.samples)), take.sound.numpy())
    rows = (torch.arange(frames) + 0.5) * factor - 0.5
    mouth = [np.interp(rows.numpy(), np.arange(len(take.mouth)), curve.numpy()) for curve in take.mouth.unbind(1)]
    kept = take.closures[take.closures[:, 1] < frames / FPS * factor] / factor
    return Take(torch.from_numpy(sound).half(), torch.from_numpy(np.stack(mouth, 1)).float(), kept, take.voice)
