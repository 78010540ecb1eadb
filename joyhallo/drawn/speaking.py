"""Recordings of synthetic speech with the known motion of the mouth: `monologue` and `recorded_sound`.

Words and voices of the two splits differ. The same dice give the same sound.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..config import SAMPLE_RATE
from ..data.dataset import SAMPLES, Split
from . import voice
from .mouths import Motion, motion
from .sentences import english_sentence, mandarin_sentence
from .voice import ENGLISH, MANDARIN, Manner, Phoneme

VOICES: Mapping[Split, Sequence[str]] = {
    "train": ("", "+m1", "+m2", "+m4", "+m5", "+m7", "+f1", "+f2", "+f4"),
    "validation": ("+m3", "+f3"),
}
RATES: Mapping[Split, tuple[int, int]] = {"train": (140, 200), "validation": (150, 190)}
PITCHES: Mapping[Split, tuple[int, int]] = {"train": (25, 75), "validation": (30, 70)}

LOUDEST_CHANGE = 12.0  # dB, by which the gain drifts: loudness alone must not tell how far the mouth is open
DRIFT_SECONDS = 0.8
PEAK = 0.7


@dataclass(frozen=True)
class Said:
    text: str
    manner: Manner
    samples: Tensor  # (n) at SAMPLE_RATE, whole video frames
    motion: Motion
    phonemes: tuple[Phoneme, ...]


def monologue(dice: np.random.Generator, split: Split, frames: int, english: float, longest_pause: float = 0.0) -> Said:
    """Sentences of one voice, one after the other.

    english: how probable it is that they are English;  longest_pause: seconds after a sentence, beside espeak's own
    """
    in_english = dice.random() < english
    name = (ENGLISH if in_english else MANDARIN) + str(dice.choice(VOICES[split]))
    manner = Manner(
        name,
        int(dice.integers(*RATES[split], endpoint=True)),
        int(dice.integers(*PITCHES[split], endpoint=True)),
        int(dice.integers(35, 75)),
    )
    sentence = english_sentence if in_english else mandarin_sentence
    return told(dice, manner, lambda: sentence(dice, split), frames, longest_pause)


def told(
    dice: np.random.Generator, manner: Manner, sentence: Callable[[], str], frames: int, longest_pause: float
) -> Said:
    """Sentences, one after the other, in one manner."""
    lead = round(dice.uniform(0.05, 0.4) * SAMPLE_RATE)
    pieces, phonemes, texts = [torch.zeros(lead)], list[Phoneme](), list[str]()
    while (begun := sum(map(len, pieces))) < frames * SAMPLES:
        texts.append(sentence())
        spoken = voice.speak(texts[-1], manner)
        pieces.append(spoken.samples)
        start = begun / SAMPLE_RATE
        phonemes += [replace(each, start=each.start + start, stop=each.stop + start) for each in spoken.phonemes]
        if longest_pause:
            pieces.append(torch.zeros(round(dice.uniform(0, longest_pause) * SAMPLE_RATE)))
    samples = torch.cat(pieces)[: frames * SAMPLES]
    return Said(" ".join(texts), manner, samples, motion(phonemes, frames), tuple(phonemes))


def recorded_sound(samples: Tensor, dice: np.random.Generator) -> Tensor:
    """Simulate a recording: at a varying distance, in a room or not, with some noise."""
    samples = samples.double()  # so that the order of sums does not affect the 16 bits that are kept
    samples = drifting(samples, dice)
    if dice.random() < 0.3:
        samples = _in_a_room(samples, dice)
    if dice.random() < 0.5:
        noise = torch.from_numpy(dice.standard_normal(len(samples)))
        samples = samples + noise * samples.square().mean().sqrt() * 10 ** (-dice.uniform(25, 45) / 20)
    level = PEAK * 10 ** (-dice.uniform(0, LOUDEST_CHANGE) / 20)
    return (samples * (level / samples.abs().max().clamp(min=1e-6))).float()


def drifting(samples: Tensor, dice: np.random.Generator) -> Tensor:
    """Vary the gain over time."""
    drift = wander(dice, len(samples), DRIFT_SECONDS * SAMPLE_RATE) * LOUDEST_CHANGE / 2
    return samples * torch.from_numpy(10 ** (drift.clip(-LOUDEST_CHANGE, LOUDEST_CHANGE) / 20))


def _in_a_room(samples: Tensor, dice: np.random.Generator) -> Tensor:
    """Add a decaying echo."""
    length = round(dice.uniform(0.1, 0.3) * SAMPLE_RATE)
    echo = torch.from_numpy(dice.standard_normal(length)) * torch.linspace(0, -6.9, length).exp()
    echo = echo * (dice.uniform(0.1, 0.4) / echo.norm())
    size = len(samples) + length
    return samples + torch.fft.irfft(torch.fft.rfft(samples, size) * torch.fft.rfft(echo, size), size)[: len(samples)]


def wander(dice: np.random.Generator, count: int, step: float) -> NDArray[np.float64]:
    """A smooth curve of about unit deviation that may turn every `step` places."""
    knots = dice.standard_normal(int(count / step) + 2)
    at = np.arange(count) / step
    before = at.astype(int)
    share = (at - before) ** 2 * (3 - 2 * (at - before))
    return knots[before] * (1 - share) + knots[before + 1] * share
