from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io

from ..joyhallo.methods.hallo.config import REGIONS
from ..joyhallo.methods.hallo.motion import EXPRESSIVENESS, GRAMMAR, MotionError, keyframes, weights
from ..joyhallo.methods.hallo.timeline import timeline
from ..joyhallo.sound.pauses import ATTACK, RELEASE, gate, pauses
from ..joyhallo.sound.wav2vec2 import Speech
from .inputs import checked
from .sockets import Speech as SpeechSocket
from .sockets import schema


class JoyHalloMotion(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "JoyHalloMotion",
            display_name="Motion over Time",
            description="Sets how strongly head, face and lips follow the speech over time, and closes the mouth where "
            "nobody speaks.",
            inputs=[
                SpeechSocket.Input(
                    "speech", tooltip="From Chinese Wav2Vec2 Encode: the same one that goes to JoyHallo Sampler."
                ),
                io.Combo.Input(
                    "expressiveness",
                    options=list(EXPRESSIVENESS),
                    default="natural",
                    tooltip="Overall liveliness: multiplies the three settings below. natural leaves them unchanged.",
                ),
                _schedule("pose", "the head moves"),
                _schedule("expression", "brows, eyes and cheeks move"),
                _schedule("lip", "the lips move"),
                io.Boolean.Input(
                    "rest_in_pauses",
                    default=True,
                    tooltip="Whether the lips close while nobody speaks. Head and face go on moving.",
                ),
                io.Float.Input(
                    "sensitivity",
                    default=0.0,
                    min=-20.0,
                    max=20.0,
                    step=0.5,
                    tooltip="Pauses are found from the recording itself. Raise this (in decibels) if the mouth moves "
                    "with breath or noise, lower it if faint words are missed; the plot shows the pauses.",
                ),
                io.Int.Input(
                    "attack",
                    default=ATTACK,
                    min=0,
                    max=50,
                    tooltip="Frames over which the lips start to move before speech begins; 25 are a second.",
                ),
                io.Int.Input(
                    "release",
                    default=RELEASE,
                    min=0,
                    max=50,
                    tooltip="Frames over which the lips come to rest after speech ends; 25 are a second.",
                ),
            ],
            advanced=("sensitivity", "attack", "release"),
            outputs=[
                *(_weights(region) for region in REGIONS),
                io.Image.Output(
                    "plot",
                    display_name="plot",
                    tooltip="A plot of the three weights, the loudness of the speech and its pauses over time.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, pose: Any = None, expression: Any = None, lip: Any = None) -> bool | str:
        """Report mistakes in the schedules before anything runs; connected ones, and missing ones, are None."""
        for name, text in zip(REGIONS, (pose, expression, lip), strict=True):
            if isinstance(text, str):
                try:
                    keyframes(text, 1)
                except MotionError as error:
                    return f"{name}: {error}"
        return True

    @classmethod
    @checked
    def execute(
        cls,
        speech: Speech,
        expressiveness: str,
        pose: str,
        expression: str,
        lip: str,
        rest_in_pauses: bool,
        sensitivity: float,
        attack: int,
        release: int,
    ) -> io.NodeOutput:
        levels = speech.levels[: speech.length]
        resting = pauses(levels, sensitivity) if rest_in_pauses else torch.zeros(len(levels), dtype=torch.bool)
        found = weights(len(levels), pose, expression, lip, expressiveness, gate(resting, attack, release))
        plot = torch.from_numpy(timeline(levels, resting, found))[None].float() / 255
        return io.NodeOutput(*(values.tolist() for values in found.unbind(1)), plot)


def _schedule(name: str, effect: str) -> io.String.Input:
    return io.String.Input(name, default="1", tooltip=f"How strongly {effect} with the speech. {GRAMMAR}")


def _weights(region: str) -> io.Float.Output:
    return io.Float.Output(
        f"{region}_weights",
        display_name=region,
        tooltip=f"A number for each frame: connect it to {region}_weight of JoyHallo Sampler.",
    )
