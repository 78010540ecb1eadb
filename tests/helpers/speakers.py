"""Sound for tests: speech by espeak-ng, recordings beside the repository, music made here."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from shared import shared_folder

MANDARIN = "ni3 hao3, huan1 ying2 guan1 kan4 zhe4 duan4 shi4 pin2. jin1 tian1 tian1 qi4 hen3 hao3."
ENGLISH = "The quick brown fox jumps over the lazy dog, and then it sleeps until the evening."


def spoken(folder: Path, voice: str, text: str, speed: int = 160) -> Path:
    """A WAV file of 22050 Hz, mono."""
    if shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed, so there is no synthetic speech")
    path = folder / f"{voice}.wav"
    subprocess.run(["espeak-ng", "-v", voice, "-s", str(speed), "-w", path, text], check=True)
    return path


def recordings() -> list[Path]:
    folder = shared_folder()
    found = sorted(folder.glob("media/*.wav")) if folder else []
    if not found:
        pytest.skip("no recordings in ../shared/media")
    return found


def voice(rate: int, samples: int, seed: int = 0) -> np.ndarray:
    """Something like speech in its levels: harmonics of a gliding pitch in syllables, with pauses between words."""
    rng = np.random.default_rng(seed)
    t = np.arange(samples) / rate
    pitch = 120 + 30 * np.sin(2 * np.pi * 0.7 * t) + 10 * np.sin(2 * np.pi * 3.1 * t)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    tone = sum(np.sin(k * phase) / k for k in range(1, 9))
    syllables = np.clip(np.sin(2 * np.pi * 4 * t), 0, 1) ** 2
    words = np.repeat(rng.random(int(t[-1] * 2) + 1 if samples else 1) > 0.25, rate // 2 + 1)[:samples]
    return (0.15 * tone * syllables * words + 1e-5 * rng.standard_normal(samples)).astype(np.float32)


def music(rate: int, samples: int) -> np.ndarray:
    """Sustained chords, changing every second, with a beat."""
    t = np.arange(samples) / rate
    out = np.zeros(samples)
    for second in range(int(t[-1]) + 1 if samples else 0):
        part = (t >= second) & (t < second + 1)
        root = 220 * 2 ** ([0, 5, 7, 3][second % 4] / 12)
        for ratio in (1, 1.26, 1.5, 2):
            out[part] += np.sin(2 * np.pi * root * ratio * t[part])
    return (0.05 * out * (0.7 + 0.3 * np.cos(2 * np.pi * 2 * t))).astype(np.float32)
