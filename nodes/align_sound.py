from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor
from torch.nn import functional as F

from ..joyhallo.config import FPS
from ..joyhallo.sound.audio import AudioError, as_channels, checked_rate
from .inputs import checked
from .scoring import audible
from .sockets import schema
from .video import as_audio

FURTHEST = 25_000  # frames, which are a thousand seconds


class AlignSound(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "AlignSound",
            display_name="Align Sound",
            description="Moves a sound in time by the offset that Score Lip Sync measured, so that it fits the lips.",
            inputs=[
                io.MultiType.Input(
                    "audio",
                    [io.Audio, io.Video],
                    tooltip="The sound that comes too early or too late. Or a video, whose sound it is.",
                ),
                io.Int.Input(
                    "offset",
                    default=0,
                    min=-FURTHEST,
                    max=FURTHEST,
                    tooltip="Frames, 25 a second, by which the sound comes too early: it is delayed by as many. Below "
                    "0 it comes too late, and is moved forward. Connect the offset of Score Lip Sync.",
                ),
            ],
            outputs=[
                io.Audio.Output(
                    "aligned",
                    display_name="audio",
                    tooltip="The sound, as long as before: silence fills the one end, the other is cut off.",
                )
            ],
        )

    @classmethod
    @checked
    def execute(cls, audio: Any, offset: int) -> io.NodeOutput:
        waveform, rate = audible(audio)
        channels, hertz = as_channels(waveform), checked_rate(rate)
        return io.NodeOutput(as_audio((_moved(channels, round(offset * hertz / FPS)), hertz)))


def _moved(channels: Tensor, by: int) -> Tensor:
    """(channels, samples), later by so many samples, at the same length."""
    length = channels.shape[1]
    if abs(by) >= length:
        raise AudioError(
            f"`offset` moves the sound by {abs(by)} samples, but it has {length}, so nothing of it would be left; "
            "choose one nearer to 0."
        )
    if not torch.isfinite(channels).all():
        raise AudioError("The sound holds values that are not numbers. The step that made it failed; make it again.")
    return F.pad(channels, (by, -by))
