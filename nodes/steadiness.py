from __future__ import annotations

from comfy_api.latest import io

from ..joyhallo.methods.hallo.config import CHUNK_FRAMES
from ..joyhallo.methods.hallo.steadiness import Steadiness
from .sockets import Steady, schema


class JoyHalloSteadiness(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "JoyHalloSteadiness",
            display_name="Steadiness",
            description="Keeps a long video as it began. The first 16 frames stay what they are without it.",
            inputs=[
                io.Boolean.Input(
                    "hold_colours",
                    default=True,
                    tooltip="Keeps colours and contrast as they are in the first chunk of 16 frames, measured "
                    "outside the lips.",
                ),
                io.Int.Input(
                    "overlap",
                    default=0,
                    min=0,
                    max=CHUNK_FRAMES // 2,
                    tooltip="Frames of each chunk of 16 that the next one goes through again, to continue from them: "
                    "smoother joints; 4 takes a third more time. 0 is the original.",
                ),
                io.Int.Input(
                    "fade",
                    default=0,
                    min=0,
                    max=CHUNK_FRAMES // 2,
                    tooltip="Frames over which a jump between two chunks fades out, everywhere but on the lips. 4 "
                    "are enough; they look a little softer. 0: none.",
                ),
                io.Float.Input(
                    "anchor_every",
                    default=0.0,
                    min=0.0,
                    max=600.0,
                    step=1.0,
                    tooltip="Every so many seconds, in the quietest moment near, the video goes on from the picture "
                    "itself instead of the last frames: the face cannot drift further than it does in this time, but "
                    "the head may jump, which overlap or fade soften. 0: never.",
                ),
            ],
            outputs=[Steady.Output("steadiness", display_name="steadiness", tooltip="For JoyHallo Sampler.")],
        )

    @classmethod
    def execute(cls, hold_colours: bool, overlap: int, fade: int, anchor_every: float) -> io.NodeOutput:
        return io.NodeOutput(Steadiness(overlap, hold_colours, fade, anchor_every))
