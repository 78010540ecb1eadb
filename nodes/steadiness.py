from __future__ import annotations

from comfy_api.latest import io

from ..joyhallo.config import CLIP_FRAMES
from ..joyhallo.steadiness import Steadiness
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
                    tooltip="Colours and contrast stay those of the first chunk, measured outside the lips.",
                ),
                io.Int.Input(
                    "overlap",
                    default=0,
                    min=0,
                    max=CLIP_FRAMES // 2,
                    tooltip="Frames of each chunk of 16 that the next one goes through again, to continue from them: "
                    "smoother joints, with 4 at 4/3 of the time. 0 is the original.",
                ),
                io.Int.Input(
                    "fade",
                    default=0,
                    min=0,
                    max=CLIP_FRAMES // 2,
                    tooltip="Frames over which what jumps at a joint fades out, everywhere but on the lips. 4 do; they "
                    "are a little softer than the others. 0: none.",
                ),
                io.Float.Input(
                    "anchor_every",
                    default=0.0,
                    min=0.0,
                    max=600.0,
                    step=1.0,
                    tooltip="Seconds after which, in the quietest moment near, the picture itself is continued instead "
                    "of the last frames: the face cannot drift further than it does in this time, but the head may "
                    "jump, which overlap or fade soften. 0: never.",
                ),
            ],
            outputs=[Steady.Output("steadiness", display_name="steadiness", tooltip="For JoyHallo Sampler.")],
        )

    @classmethod
    def execute(cls, hold_colours: bool, overlap: int, fade: int, anchor_every: float) -> io.NodeOutput:
        return io.NodeOutput(Steadiness(overlap, hold_colours, fade, anchor_every))
