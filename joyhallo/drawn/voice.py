"""`speak`: speech by espeak-ng, with the time of each phoneme."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from ..libraries import LibraryError
from ..sound.audio import joined, resampled, resampled_length
from . import espeak

MANDARIN, ENGLISH = "cmn-latn-pinyin", "en-us"  # the voice cmn misreads Chinese characters in release 1.51
LONGEST_WAIT = 120  # seconds


@dataclass(frozen=True)
class Manner:
    """Voice, rate and pitch of speech."""

    voice: str = MANDARIN  # +f2, +m3 and so on stand for other speakers
    rate: int = 170  # words a minute
    pitch: int = 50  # 0..99
    range: int = 50  # of the pitch


@dataclass(frozen=True)
class Phoneme:
    name: str  # as espeak writes it; underscores are pauses
    start: float  # seconds
    stop: float


@dataclass(frozen=True)
class Spoken:
    samples: Tensor  # (n) at SAMPLE_RATE
    phonemes: tuple[Phoneme, ...]  # one after the other, without gaps


def speak(text: str, manner: Manner) -> Spoken:
    """Speak a text; the result is reproducible with one release of espeak-ng."""
    rate, marks, heard = _said(text, manner)
    samples = joined(resampled([heard], rate), resampled_length(len(heard), rate))
    times = [place / rate for place, _ in marks] + [len(heard) / rate]
    named = zip((name for _, name in marks), pairwise(times), strict=True)
    phonemes = [Phoneme(name, start, stop) for name, (start, stop) in named if stop > start]
    return Spoken(torch.from_numpy(samples), tuple(phonemes))


def check() -> None:
    """Raise a LibraryError if espeak-ng cannot speak."""
    speak("ni3hao3", Manner())


def _said(text: str, manner: Manner) -> tuple[int, list[tuple[int, str]], np.ndarray]:
    """Rate, phonemes by the sample at which they begin, samples in -1..1."""
    command = [sys.executable, "-I", "-S", espeak.__file__]  # without site packages, for a quick start
    wanted = json.dumps({"text": text, **asdict(manner)}).encode()
    ended = subprocess.run(command, input=wanted, capture_output=True, timeout=LONGEST_WAIT)
    if ended.returncode:
        raise LibraryError(_trouble(ended.returncode, manner, ended.stderr.decode(errors="replace")))
    told, _, samples = ended.stdout.partition(b"\n")
    answer = json.loads(told)
    if not samples or not answer["phonemes"]:
        raise LibraryError(f"espeak-ng said nothing for {text!r} with the voice {manner.voice}; install it again.")
    return answer["rate"], answer["phonemes"], np.frombuffer(samples, np.int16).astype(np.float32) / 32768


def _trouble(code: int, manner: Manner, said: str) -> str:
    if code == espeak.MISSING:
        return (
            "Synthetic speech needs espeak-ng, which is not installed; install it with: apt-get install espeak-ng, "
            "brew install espeak-ng, or the installer from its own site."
        )
    if code == espeak.WITHOUT_DATA:
        return "espeak-ng does not find its data; install it again."
    if code == espeak.NO_SUCH_VOICE:
        return f"espeak-ng has no voice {manner.voice}; install espeak-ng 1.51 or later with all of its data."
    last = said.strip().splitlines()[-1:] or [f"exit code {code}"]
    return f"espeak-ng broke off ({last[0]}); install it again."
