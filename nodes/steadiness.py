from __future__ import annotations

from comfy_api.latest import io

from ..joyhallo.methods.hallo.config import CHUNK_FRAMES
from ..joyhallo.methods.hallo.steadiness import Steadiness
from .inputs import checked
from .sockets import Steady, schema


class JoyHalloSteadiness(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "JoyHalloSteadiness",
            display_name="Steadiness",
            description="Keeps a long video consistent with its beginning. The first 16 frames are the same with "
            "and without it.",
            inputs=[
                io.Boolean.Input(
                    "hold_colours",
                    default=True,
                    tooltip="Holds colours and contrast at those of the first chunk of 16 frames, measured outside the "
                    "lips.",
                ),
                io.Int.Input(
                    "overlap",
                    default=0,
                    min=0,
                    max=CHUNK_FRAMES // 2,
                    tooltip="Frames of each chunk of 16 that the next chunk repeats before it continues: smoother "
                    "joints; 4 takes a third more time. 0 is the original.",
                ),
                io.Int.Input(
                    "fade",
                    default=0,
                    min=0,
                    max=CHUNK_FRAMES // 2,
                    tooltip="Frames over which a jump between two chunks fades out, everywhere except on the lips. "
                    "4 are enough; they look slightly softer. 0: off.",
                ),
                io.Float.Input(
                    "anchor_every",
                    default=0.0,
                    min=0.0,
                    max=600.0,
                    step=1.0,
                    tooltip="Every so many seconds, at the quietest moment nearby, the video continues from the "
                    "picture itself instead of the last frames. The face cannot drift further than in this time, "
                    "but the head may jump; overlap or fade softens that. 0: never.",
                ),
            ],
            outputs=[Steady.Output("steadiness", display_name="steadiness", tooltip="For JoyHallo Sampler.")],
        )

    @classmethod
    @checked
    def execute(cls, hold_colours: bool, overlap: int, fade: int, anchor_every: float) -> io.NodeOutput:
        return io.NodeOutput(Steadiness(overlap, hold_colours, fade, anchor_every))
