"""What moves beside the mouth: blinks, sway, nods and brows on stressed words, breath in pauses.

All of it follows from the speech and a seed, for the whole film at once, so that a frame does not depend on where the
work is cut.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ...config import FPS
from .easing import smooth
from .head import Moves

LID = (0.30, 0.85, 1.0, 0.92, 0.62, 0.30, 0.10)  # how far the eye is shut in the frames of a blink
BETWEEN, SHORTEST = 3.6, 0.9  # seconds from blink to blink: the mean, and the least
IN_PAUSES = 2.2  # times as many
AWAKE = 0.6  # seconds in which movement begins: the first frame is the picture
SPEAKING = -45.0  # dB of full scale; in between it is judged against the loudest
STRESS = 6.0  # dB above its surroundings that a stressed syllable has

# How far the head goes when `sway` is 1: shifts in face widths, turns in radians.
RIGHT, DOWN, ROLL, YAW, PITCH = 0.010, 0.006, 0.016, 0.040, 0.020
NOD, LIFT = 0.030, 0.8  # on stress: radians, share of the brows' way
BREATH = 0.012  # face widths


def head_moves(loudness: Tensor, sway: Tensor, expressiveness: Tensor, seed: int) -> Moves:
    """loudness (n) in dB of full scale; sway and expressiveness (n): how strongly, 1 for a calm speaker"""
    count, dice = len(loudness), np.random.default_rng([seed, 1])
    speaking, stress = activity(loudness), _stress(loudness)
    awake = smooth(torch.arange(count) / (AWAKE * FPS))
    lively = sway * awake * (0.45 + 0.55 * _blurred(speaking, 15))
    right, down, roll, yaw, pitch, lift, when = (_wander(count, dice) for _ in range(7))
    # Brows rise with some stressed words and not with others.
    emphasis = _blurred(stress, 5) * smooth(when + 0.6)
    breath = _blurred(1 - speaking, 9) * 0.7 + 0.3 * _wander(count, dice, slowest=0.2, fastest=0.3)
    return Moves(
        right=RIGHT * lively * right,
        down=DOWN * lively * down - 0.25 * BREATH * sway * awake * breath,
        roll=ROLL * lively * roll,
        yaw=YAW * lively * yaw,
        pitch=PITCH * lively * pitch + NOD * expressiveness * awake * _blurred(stress, 3),
        brows=expressiveness * awake * (LIFT * emphasis + 0.12 * lift),
        breath=BREATH * sway * awake * breath,
    )


def blinks(loudness: Tensor, often: Tensor, seed: int) -> Tensor:
    """(n) in 0..1: how far the eyes are shut. often (n): 1 as people do, 0 never"""
    count, dice = len(loudness), np.random.default_rng([seed, 2])
    per_frame = often * (1 + (IN_PAUSES - 1) * (1 - activity(loudness))) / (BETWEEN * FPS)
    passed = torch.cumsum(per_frame.double(), 0).numpy()
    shut = torch.zeros(count)
    due, free = float(dice.gamma(2.0, 0.5)), 0
    while True:
        at = max(int(np.searchsorted(passed, due)), free)
        if at > count - len(LID) or not due <= passed[-1]:  # a film ends with open eyes
            return shut
        place = slice(at, at + len(LID))
        shut[place] = torch.maximum(shut[place], torch.tensor(LID))
        due, free = max(due, float(passed[at])) + float(dice.gamma(2.0, 0.5)), at + round(SHORTEST * FPS)


def activity(loudness: Tensor) -> Tensor:
    """(n) in 0..1: whether someone speaks"""
    if not len(loudness):
        return loudness
    quiet = max(SPEAKING, float(loudness.quantile(0.95)) - 28)
    return _blurred(((loudness - quiet) / 6).clamp(0, 1), 2)


def _stress(loudness: Tensor) -> Tensor:
    """(n) in 0..1: syllables that stand out"""
    heard = loudness.clamp(min=-60)
    above = _blurred(heard, 2) - _blurred(heard, 16)
    return ((above - 1) / STRESS).clamp(0, 1) * activity(loudness)


def _wander(count: int, dice: np.random.Generator, slowest: float = 0.06, fastest: float = 0.5) -> Tensor:
    """(count): a smooth movement about 0, mostly within -1 and 1"""
    waves = 5
    pace = np.exp(dice.uniform(math.log(slowest), math.log(fastest), waves))
    size = 1 / np.sqrt(pace / slowest)
    size, start = size / np.sqrt((size**2).sum()), dice.uniform(0, 2 * math.pi, waves)
    at = np.arange(count)[:, None] / FPS
    return torch.from_numpy((np.sin(2 * math.pi * pace * at + start) * size).sum(1)).float()


def _blurred(values: Tensor, deviation: float) -> Tensor:
    reach = int(3 * deviation)
    bell = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / deviation) ** 2)
    padded = F.pad(values[None, None].float(), (reach, reach), "replicate")
    return F.conv1d(padded, (bell / bell.sum())[None, None])[0, 0]
