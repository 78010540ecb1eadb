from __future__ import annotations

from typing import Any

import comfy.model_management
import comfy.utils
import torch
from comfy_api.latest import io
from torch import Tensor

from ..joyhallo.faces.cutouts import Cutouts
from ..joyhallo.faces.find import FaceError
from ..joyhallo.faces.track import Track, gaps
from ..joyhallo.files.space import check_memory
from ..joyhallo.film.lengths import in_order
from ..joyhallo.methods.handed import cut_out
from . import report
from .inputs import checked
from .placing import checked_track
from .preview import stop
from .sockets import FaceCrops, FaceTrack, rate_of_images, schema
from .track_face import tracked
from .video import Pictures


class CutFaces(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "CutFaces",
            display_name="Cut Out Faces",
            description="Cuts one face out of a video as images, for any node that restores, sharpens or changes "
            "faces. Paste Faces Back puts them into the video again.",
            inputs=[
                io.MultiType.Input(
                    "video",
                    [io.Video, io.Image],
                    tooltip="A video of any length, of Redub Lips or any other node; or images.",
                ),
                io.Int.Input(
                    "size",
                    default=512,
                    min=64,
                    max=2048,
                    step=8,
                    tooltip="Width and height of the images, in pixels. 512 suits most restorers. Larger than the face "
                    "in the video loses nothing on the way.",
                ),
                io.Float.Input(
                    "room",
                    default=0.5,
                    min=0.0,
                    max=3.0,
                    step=0.05,
                    tooltip="How much of what surrounds the face is shown: 0 none, 0.5 hair and neck, 1 twice the size "
                    "of the face.",
                ),
                io.Int.Input(
                    "first_frame",
                    default=0,
                    min=0,
                    max=10_000_000,
                    tooltip="The frame of the video with which to begin; 0 is the first.",
                ),
                io.Int.Input(
                    "frames",
                    default=0,
                    min=0,
                    max=10_000_000,
                    tooltip="How many frames of the video to go through; 0: all that follow. All images must fit into "
                    "memory: a minute of 512 pixels takes 4.7 GB.",
                ),
                rate_of_images(),
                FaceTrack.Input(
                    "face_track",
                    optional=True,
                    tooltip="From Redub Lips, or from Track Face run on the same video: whose face, and where. If not "
                    "connected, the largest face is tracked here, with MediaPipe.",
                ),
            ],
            advanced=("first_frame", "frames", "fps"),
            outputs=[
                io.Image.Output(
                    "faces",
                    display_name="faces",
                    tooltip="One image for each frame that shows the face, in their order. Whatever is made of them, "
                    "of any size, must be as many, in the same order.",
                ),
                FaceCrops.Output("crops", display_name="crops", tooltip="For Paste Faces Back: where they belong."),
                io.String.Output(
                    "report",
                    display_name="report",
                    tooltip="How many faces there are, how large, and which frames have none: connect Preview as Text.",
                ),
            ],
        )

    @classmethod
    @checked
    def execute(
        cls,
        video: Any,
        size: int,
        room: float,
        first_frame: int,
        frames: int,
        fps: float,
        face_track: Track | None = None,
    ) -> io.NodeOutput:
        film = Pictures.of(video, fps)
        track = tracked(film).track if face_track is None else checked_track(face_track, film)
        span = _span(first_frame, frames, len(track))
        cutouts = Cutouts.of(track, size, room, span)
        return io.NodeOutput(_faces(film, cutouts), cutouts, _report(cutouts, span))


def _span(first: int, count: int, there: int) -> range:
    if first >= there:
        raise FaceError(f"`first_frame` is {first}, but the video has {there} frames: choose one below that.")
    return range(first, min(there, first + count if count else there))


def _faces(film: Pictures, cutouts: Cutouts) -> Tensor:
    """In one tensor, which is there beforehand, its planes of colour apart as those that a VAE decodes.

    Some restorers, GFPGAN among them, take no others from ComfyUI's own node.
    """
    count, side = len(cutouts), cutouts.side
    check_memory(
        f"Holding {count} faces of {side}x{side} pixels",
        count * side * side * 3 * torch.float32.itemsize,
        comfy.model_management.get_free_memory(torch.device("cpu")),
        "choose fewer frames, and cut out the others in another run, or a smaller size",
    )
    faces, bar = torch.empty(count, 3, side, side), comfy.utils.ProgressBar(count)
    shown = in_order(film.read, cutouts.frames)
    for number, face in enumerate(cut_out(shown, cutouts, comfy.model_management.get_torch_device())):
        stop()
        faces[number] = face
        bar.update_absolute(number + 1, count)
    return faces.movedim(1, -1)


def _report(cutouts: Cutouts, span: range) -> str:
    sides = cutouts.boxes[:, 2] - cutouts.boxes[:, 0]
    count, size = len(cutouts), report.sized((cutouts.side, cutouts.side))
    facts = [
        f"{count} {'face' if count == 1 else 'faces'} of {size} pixels, of frames {span.start} to {span.stop - 1}",
        f"In the video they have {sides.min()} to {sides.max()} pixels, with what surrounds them",
    ]
    usable = cutouts.usable[span.start : span.stop]
    return report.shown([*facts, *report.faceless(gaps(usable), cutouts.track.rate, span.start)])
