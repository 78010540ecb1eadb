"""Stretches of speech by espeak-ng for the puppet's ear to learn from, spoken once and kept in a cache: `takes`."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from ...config import FPS
from ...data.dataset import Split, replacing
from ...data.steps import digest
from ...drawn import sentences
from ...drawn.mouths import articulation, shapes_of
from ...drawn.speaking import VOICES, Said, told
from ...drawn.voice import ENGLISH, MANDARIN, Manner, Phoneme

VERSION = 1  # to be raised when the same seed gives other speech
SECONDS = 12.0
LONGEST_PAUSE = 0.8  # seconds
OTHER_VOICES = (  # of espeak-ng: real voices differ more than the few that the drawn people have
    "m6 m8 f5 Alex Alicia Andrea Andy Annie Denis Diogo Gene Hugo Jacky Lee Marco Mario Michael Mike adam anika aunty "
    "belinda benjamin boris caleb croak david ed edward grandma grandpa iven john klatt klatt2 klatt3 klatt4 linda max "
    "michel miguel norbert paul pedro quincy rob robert steph travis victor whisper whisperf zac"
)
SENTENCES = {  # of each language, the second with its words in any order
    MANDARIN: (sentences.mandarin_sentence, sentences.mandarin_syllables),
    ENGLISH: (sentences.english_sentence, sentences.english_words),
}
ANY_ORDER = {"train": 0.7, "validation": 0.5}  # share of the second


@dataclass(frozen=True)
class Take:
    """A stretch of speech, without the effects of a recording."""

    samples: Tensor  # float16
    mouth: Tensor  # (frames, GESTURES): the truth
    closures: Tensor  # (n, 2): seconds from and to which lips are pressed
    voice: str

    @property
    def sound(self) -> Tensor:
        return self.samples.float()


@dataclass(frozen=True)
class Speakers:
    """Who speaks: take number n is a function of these and of n."""

    seed: int
    english: float  # share of the takes
    cache: Path
    workers: int = 1

    def takes(self, split: Split, count: int) -> list[Take]:
        """Speak takes at once in threads, each by a program of its own, or find them in the cache."""
        with ThreadPoolExecutor(max(1, self.workers)) as pool:
            return list(pool.map(lambda number: self._take(split, number), range(count)))

    def _take(self, split: Split, number: int) -> Take:
        place = self.cache / f"{split}-{number:05d}-{digest(VERSION, self.seed, self.english)[:8]}.safetensors"
        if not place.is_file():
            dice = np.random.default_rng(int(digest(VERSION, "ear", self.seed, "take", split, number), 16))
            _write(place, spoken(dice, split, self.english))
        return _read(place)


def spoken(dice: np.random.Generator, split: Split, english: float) -> Take:
    said = speech(dice, split, english)
    mouth = torch.from_numpy(articulation(said.phonemes, round(SECONDS * FPS)))
    return Take(said.samples.half(), mouth, closures(said.phonemes, SECONDS), said.manner.voice)


def speech(dice: np.random.Generator, split: Split, english: float, seconds: float = SECONDS) -> Said:
    """Of one of many voices, in words of any order or in sentences."""
    language = ENGLISH if dice.random() < english else MANDARIN
    usual, loose = SENTENCES[language]

    def sentence() -> str:
        return (loose if dice.random() < ANY_ORDER[split] else usual)(dice, split)

    return told(dice, _manner(dice, language, split), sentence, round(seconds * FPS), LONGEST_PAUSE)


def closures(phonemes: Iterable[Phoneme], seconds: float) -> Tensor:
    """(n, 2): from and to which lips are pressed, where a take of so many seconds has all of it."""
    pressed = [
        (each.start, each.stop)
        for each in phonemes
        if shapes_of(each.name)[0].viseme == "closed" and each.stop < seconds
    ]
    return torch.tensor(pressed, dtype=torch.float32).reshape(-1, 2)


def _manner(dice: np.random.Generator, language: str, split: Split) -> Manner:
    voices = list(VOICES[split])
    if split == "train":
        voices += [f"+{name}" for name in OTHER_VOICES.split()]
    rates = (130, 230) if split == "train" else (150, 190)
    numbers = (int(dice.integers(low, high, endpoint=True)) for low, high in (rates, (15, 85), (25, 90)))
    return Manner(language + str(dice.choice(voices)), *numbers)


def _write(place: Path, take: Take) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with replacing(place) as temporary:
        tensors = {"samples": take.samples, "mouth": take.mouth, "closures": take.closures}
        save_file(tensors, temporary, {"voice": take.voice})


def _read(place: Path) -> Take:
    with safe_open(place, "pt") as file:
        tensors = [file.get_tensor(name) for name in ("samples", "mouth", "closures")]
        return Take(*tensors, voice=file.metadata()["voice"])
