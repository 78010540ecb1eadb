from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import comfy.model_management
import numpy as np
import torch
from comfy_api.latest import io
from torch import Tensor

from ..joyhallo.faces.blend import Blend
from ..joyhallo.faces.cutouts import Cutouts
from ..joyhallo.faces.track import Track
from ..joyhallo.film.batches import most, read_need
from ..joyhallo.film.lengths import in_order
from ..joyhallo.film.write import as_floats, check_frames, pieces
from ..joyhallo.methods.chunks import Progress
from ..joyhallo.methods.handed import handed_back
from ..joyhallo.methods.plan import BLENDS, blended
from ..joyhallo.methods.redub import Redubbed, placed
from ..joyhallo.methods.room import Memory
from ..joyhallo.methods.script import Script, presence
from ..joyhallo.sound.audio import Sound
from . import report
from .inputs import InputError, checked
from .placing import checked_track, fitting, mask_video
from .preview import Preview
from .run import HELD, Job, OnStep, make
from .sockets import FaceCrops, chosen, rate_of_images, schema
from .video import Footage, MadeWhenNeeded, Pictures

PASTED = 73  # bytes for each pixel of a square in the video and of what goes into it: a third more than was counted


class PasteFaces(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "PasteFaces",
            display_name="Paste Faces Back",
            description="Puts the images of Cut Out Faces, restored or changed by other nodes, back into their video.",
            inputs=[
                io.MultiType.Input(
                    "video",
                    [io.Video, io.Image],
                    tooltip="The video that the faces were cut out of, or another one with the same size and rate.",
                ),
                io.Image.Input(
                    "faces",
                    tooltip="What other nodes made of the images of Cut Out Faces: as many, in the same order, of any "
                    "size.",
                ),
                FaceCrops.Input("crops", tooltip="From Cut Out Faces: where the faces belong."),
                io.Combo.Input(
                    "blend",
                    options=list(BLENDS),
                    default="feather",
                    tooltip="What is replaced. feather: all of the image, with soft borders. mouth: only from the nose "
                    "to the chin, with soft borders. whole box: all of it, with hard borders. The first two match the "
                    "colours along the border.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="How much of the images counts: 1 all, 0 nothing.",
                ),
                rate_of_images(),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Only what is white here changes: one mask of the video's size, or one for each frame. The "
                    "mask of Redub Lips, say, as images and converted to a mask.",
                ),
            ],
            advanced=("fps",),
            outputs=[
                io.Video.Output(
                    "pasted",
                    display_name="video",
                    tooltip="For Save Talking Video, with the sound of the video that came in. Outside of what is "
                    "replaced it is that video, to the last bit.",
                ),
                io.Video.Output(
                    "changed",
                    display_name="mask",
                    tooltip="What was replaced, white on black, frame by frame. It is made when it is needed.",
                ),
                io.String.Output(
                    "report",
                    display_name="report",
                    tooltip="How many faces went back, and how fast: connect Preview as Text.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    @checked
    def execute(
        cls,
        video: Any,
        faces: Tensor,
        crops: Cutouts,
        blend: str,
        strength: float,
        fps: float,
        mask: Tensor | None = None,
    ) -> io.NodeOutput:
        film = Pictures.of(video, fps)
        track = checked_track(crops.track, film)
        _check_count(faces, crops)
        painted = None if mask is None else fitting(mask, film.size)
        how = blended(chosen(BLENDS, blend, "blend"), track, painted)
        sound = None if isinstance(video, Tensor) else Footage.of(video).sound()
        paste = Pasting(film, crops, faces, _script(crops, track, strength), how, sound)
        first = as_floats(next(pieces(faces[:1])))[0] * 2 - 1
        made = make(paste.job(), Preview(first, None, paste.device, cls.hidden and cls.hidden.unique_id))
        facts = [*paste.used(strength), made.plan, made.pace()]
        return io.NodeOutput(made.video, paste.mask_video(), report.shown(facts))


@dataclass(frozen=True)
class Pasting:
    film: Pictures
    cutouts: Cutouts
    faces: Tensor
    script: Script
    blend: Blend
    sound: Sound | None

    @property
    def device(self) -> torch.device:
        return comfy.model_management.get_torch_device()

    @property
    def at_once(self) -> int:
        return most(self.film.size, self.faces[0, ..., 0].numel())

    def job(self) -> Job:
        size, together, face = self.film.size, self.at_once, self.faces[0, ..., 0].numel()
        largest = int((self.cutouts.boxes[:, 2] - self.cutouts.boxes[:, 0]).max()) ** 2
        memory = (1 + HELD) * together * 3 * (size[0] * size[1] + 4 * face) + PASTED * (largest + face)
        return Job(
            chunks=self._chunks,
            placed=lambda chunk: iter([placed(chunk, self.cutouts, self.script, self.blend)]),
            count=-(-len(self.script) // together),
            length=len(self.script),
            rate=self.film.rate,
            sound=self.sound,
            size=size,
            moving=size,
            device=self.device,
            memory=Memory("Pasting faces into this video", memory, memory, "use a smaller video"),
            held=read_need(size, together, self.device),
            marks=self.film.marks,
        )

    def _chunks(self, on_step: OnStep) -> Iterator[Redubbed]:
        coming = in_order(self.film.read, self.script.places)
        for chunk in handed_back(coming, self.cutouts, self.faces, len(self.script), self.at_once, self.device):
            yield chunk
            on_step(Progress(chunk.start + len(chunk.pictures), len(self.script)))

    def mask_video(self) -> MadeWhenNeeded:
        return mask_video(self.film, self.cutouts, self.cutouts.side, self.script, self.blend)

    def used(self, strength: float) -> list[str]:
        count, size = len(self.cutouts), report.sized((self.faces.shape[2], self.faces.shape[1]))
        faces, frames = "face" if count == 1 else "faces", len(self.script)
        return [
            f"{count} {faces} of {size} pixels put into {frames} frames, with strength {strength:g}",
            f"Labels: {report.labels()}; of the video: {self.film.marks}",
        ]


def _script(cutouts: Cutouts, track: Track, strength: float) -> Script:
    """Where only a part of the video is done, what follows it may be done as well, so that nothing fades there."""
    amounts = presence(track.found, track.cuts) * cutouts.usable[: len(track)] * np.float32(strength)
    return Script(np.arange(len(track), dtype=np.int64), amounts)


def _check_count(faces: Tensor, cutouts: Cutouts) -> None:
    check_frames(faces)
    if len(faces) != len(cutouts):
        raise InputError(
            f"`faces` has {len(faces)} images, but {len(cutouts)} were cut out; connect a node that gives back one "
            "image for each that it gets, in the same order."
        )
