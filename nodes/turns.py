from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..joyhallo.sound.turns import GRAMMAR, Dialogue, TurnsError, divided, in_turn, together
from .inputs import checked
from .sockets import chosen, schema
from .video import sound_of

ORDERS = {"one after the other": in_turn, "at the same time": together}


class JoyHalloTurns(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "JoyHalloTurns",
            display_name="Dialogue Turns",
            description="Makes two tracks for two speakers, from one recording in which they take turns or from one "
            "of each. Each track is silent while the other person speaks, so that the listener stays still.",
            inputs=[
                io.Audio.Input(
                    "audio",
                    tooltip="A recording of both speakers taking turns; or, if second_audio is connected, of the first "
                    "alone.",
                ),
                io.Audio.Input("second_audio", optional=True, tooltip="The second speaker, if recorded separately."),
                io.String.Input(
                    "turns",
                    default="",
                    multiline=True,
                    tooltip=f"For one recording with both voices. {GRAMMAR} 1 is the speaker of the track first.",
                ),
                io.Combo.Input(
                    "order",
                    options=list(ORDERS),
                    default="one after the other",
                    tooltip="For two recordings: whether the second begins when the first ends, or both begin at once. "
                    "With one recording, turns decides.",
                ),
            ],
            outputs=[
                _track("first", "For Chinese Wav2Vec2 Encode of the first speaker: silent while the second speaks."),
                _track("second", "For Chinese Wav2Vec2 Encode of the second speaker: silent while the first speaks."),
                _track("both", "Both voices, as long as either track: for the saved video."),
            ],
        )

    @classmethod
    @checked
    def execute(cls, audio: Any, turns: str, order: str, second_audio: Any = None) -> io.NodeOutput:
        found = _dialogue(audio, second_audio, turns, order)
        return io.NodeOutput(*(_audio(track, found.rate) for track in (found.first, found.second, found.both)))


def _dialogue(audio: Any, second_audio: Any, turns: str, order: str) -> Dialogue:
    one = sound_of(audio)
    if second_audio is None:
        return divided(one, turns)
    if turns.strip():
        raise TurnsError("Turns divide one recording, but there are two: clear `turns`, or disconnect `second_audio`.")
    return chosen(ORDERS, order, "order")(one, sound_of(second_audio))


def _audio(track: Tensor, rate: int) -> dict[str, Any]:
    return {"waveform": track[None], "sample_rate": rate}


def _track(name: str, purpose: str) -> io.Audio.Output:
    return io.Audio.Output(name, display_name=name, tooltip=purpose)
