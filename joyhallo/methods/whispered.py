"""What the redub methods that hear through Whisper have in common."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import cast

from torch import Tensor

from ..sound.audio import Recording
from ..sound.heard import Heard, HeardWindows, Joints, windows
from ..sound.whisper import Manner, frames_of, hear
from .redub import Engine, Wishes

Hear = Callable[[Tensor, Joints], Heard]  # samples, how parts of long sound are joined


def hearing(engine: Engine, manner: Manner) -> Hear:
    def heard(samples: Tensor, joints: Joints) -> Heard:
        return hear(engine.parts["whisper"], samples, manner, joints, engine.device, engine.ready)

    return heard


def heard_at_frames(hear: Hear, manner: Manner, recording: Recording, rate: Fraction, wishes: Wishes) -> HeardWindows:
    """At any frame rate: what is heard does not drift away from what is seen."""
    samples = recording.samples
    count = frames_of(len(samples), rate, manner, wishes.cover_tail)
    return windows(hear(samples, cast(Joints, wishes.joints)), manner.beyond, rate, count, offset=wishes.sync_offset)
