from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import comfy.utils
import torch
from comfy_api.latest import io
from torch import Tensor

from ..joyhallo.faces.boxes import Picture
from ..joyhallo.faces.find import TASK, FaceError, FaceMesh, FaceModels
from ..joyhallo.faces.finders import Detector, Finder, Landmarker
from ..joyhallo.faces.known import KnownMeshes
from ..joyhallo.faces.picture import as_picture
from ..joyhallo.faces.pursuit import Unclear, Which
from ..joyhallo.faces.regions import Mask
from ..joyhallo.faces.tracking import EVERY, Gaps, Tracked, Wishes, drawn, track
from ..joyhallo.methods.hallo.overlay import numbered
from . import report
from .inputs import checked
from .model_folders import face_task
from .preview import FACES, faces_shown, offer_faces, stop
from .sockets import FaceAnalysis, FaceTrack, chosen, schema
from .video import Pictures

WHICH: dict[str, Which] = {
    "largest": "largest",
    "most central": "central",
    **{str(number): number for number in range(10)},
}
GAPS: dict[str, Gaps] = {"interpolate": "interpolate", "hold": "hold", "leave": "leave"}


class TrackFace(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "TrackFace",
            display_name="Track Face",
            description="Follows one face through a whole video: where it is in each frame, across cuts and other "
            "people.",
            inputs=[
                io.MultiType.Input(
                    "video",
                    types=[io.Video, io.Image],
                    tooltip="The video, of any length: it is read piece by piece. Or its frames as images; these must "
                    "fit into memory.",
                ),
                io.Combo.Input(
                    "which_face",
                    options=list(WHICH),
                    default="largest",
                    tooltip="Who is followed, decided in the first frame with faces. 0 is the first from the left, 1 "
                    "the next. You can also click a face shown on the node.",
                ),
                io.Combo.Input(
                    "detector",
                    options=list(DETECTORS),
                    default="auto",
                    tooltip="auto: InsightFace if face_analysis is connected, or else MediaPipe. InsightFace tells "
                    "people apart best, for non-commercial research only. MediaPipe tells people apart by their "
                    "colours. painted mask: nobody is searched for, the face is under the mask.",
                ),
                io.Int.Input(
                    "detection_size",
                    default=0,
                    min=0,
                    max=4096,
                    step=32,
                    tooltip="Frames are searched at this many pixels along their longest side. 0: the detector's own, "
                    "640 or 1000. Larger finds smaller faces, and takes longer.",
                ),
                io.Combo.Input(
                    "gaps",
                    options=list(GAPS),
                    default="interpolate",
                    tooltip="What happens where the face is not seen. interpolate: gaps of up to 0.6 seconds are "
                    "bridged, in longer ones nothing is changed. hold: the face counts as where it was last. leave: "
                    "nothing is changed in these frames.",
                ),
                io.Boolean.Input(
                    "cuts",
                    default=True,
                    tooltip="Whether the video has cuts. They are found, nothing is bridged across them, and after "
                    "each the same person is searched for. Off if a video flickers so much that cuts are seen where "
                    "there are none.",
                ),
                io.Float.Input(
                    "fps",
                    default=25.0,
                    min=1.0,
                    max=240.0,
                    step=0.001,
                    tooltip="Frames per second, for images alone: a video brings its own.",
                ),
                FaceAnalysis.Input(
                    "face_analysis",
                    optional=True,
                    tooltip="From Load JoyHallo Models: InsightFace, which tells people apart by their faces. Without "
                    "it MediaPipe searches.",
                ),
                io.Image.Input(
                    "reference",
                    optional=True,
                    tooltip="A picture of the person to be followed, instead of which_face, best from the same video.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Painted over the first frame with faces: the face under it is followed, instead of "
                    "which_face. With the detector painted mask it is the face itself, from hairline to chin, one for "
                    "the whole video or one for each frame.",
                ),
            ],
            outputs=[
                FaceTrack.Output("face_track", display_name="face_track", tooltip="For nodes that redub a video."),
                io.Image.Output(
                    "contact_sheet",
                    display_name="contact_sheet",
                    tooltip="Twelve frames spread over the video with the box of the face; a red label where it was "
                    "not seen.",
                ),
                io.String.Output(
                    "report",
                    display_name="report",
                    tooltip="Where the face was seen, bridged or missing, and the cuts: connect Preview as Text.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
            advanced=("detection_size", "cuts", "fps"),
            newer={"has_intermediate_output": True},  # the faces are there again after the page is loaded anew
        )

    @classmethod
    @checked
    def execute(
        cls,
        video: Any,
        which_face: str,
        detector: str,
        detection_size: int,
        gaps: str,
        cuts: bool,
        fps: float,
        face_analysis: FaceModels | None = None,
        reference: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> io.NodeOutput:
        wishes = Wishes(
            which=chosen(WHICH, which_face, "which_face") if mask is None else _painted(mask)[0],
            reference=None if reference is None else as_picture(reference),
            gaps=chosen(GAPS, gaps, "gaps"),
            cuts=cuts,
        )
        finder = chosen(DETECTORS, detector, "detector")(face_analysis, detection_size)
        film = Pictures.of(video, fps)
        try:
            found = _drawn(film, mask) if finder is None else track(counted(film), finder, film.rate, wishes)
        except Unclear as unclear:
            picture = unclear.picture
            offer_faces(cls.hidden, picture, numbered(picture, unclear.boxes), unclear.boxes)
            raise
        first = found.first
        sheet = torch.from_numpy(found.sheet)[None].float() / 255
        shown = faces_shown(first.picture, numbered(first.picture, first.boxes), first.boxes, first.chosen)
        return io.NodeOutput(found.track, sheet, report.shown(found.report), ui={FACES: [shown]})


def tracked(film: Pictures, mask: Tensor | None = None, every: int = EVERY, whole: bool = False) -> Tracked:
    """The largest face, as MediaPipe sees it, every few frames; with a mask, what is under that.

    whole: with all points of its mesh
    """
    wishes = Wishes(every=every, whole=whole)
    return track(counted(film), _mediapipe(None, 0), film.rate, wishes) if mask is None else _drawn(film, mask)


def counted(film: Pictures) -> Iterator[Picture]:
    """With the progress; cancelling takes effect with the next one."""
    bar = comfy.utils.ProgressBar(max(1, film.count))
    for done, picture in enumerate(film.read(0), 1):
        stop()
        yield picture.numpy()
        bar.update_absolute(done, max(done, film.count))


def _painted(mask: Tensor) -> Mask:
    """(n, height, width) in 8 bits"""
    masks = mask if mask.ndim == 3 else mask[None]
    return (masks.float().nan_to_num().clamp(0, 1) * 255).round().byte().cpu().numpy()


def _drawn(film: Pictures, mask: Tensor | None) -> Tracked:
    if mask is None:
        raise FaceError("The detector is painted mask, but no mask is connected; connect one, or choose auto.")
    return drawn(counted(film), _painted(mask), film.rate)


# ---- who searches


def _auto(models: FaceModels | None, size: int) -> Finder:
    return _mediapipe(models, size) if models is None or models.folder is None else _insightface(models, size)


def _insightface(models: FaceModels | None, size: int) -> Finder:
    detector = None if models is None else models.detector
    if detector is None:
        raise FaceError(
            "Searching with InsightFace takes its models, but there are none; connect face_analysis of Load JoyHallo "
            "Models with face_analysis chosen as face_models, or choose MediaPipe."
        )
    return Detector(detector, size)


def _mediapipe(models: FaceModels | None, size: int) -> Finder:
    task = face_task()
    landmarker = FaceMesh(task) if task is not None else None if models is None else models.landmarker
    if landmarker is None or isinstance(landmarker, KnownMeshes):
        raise FaceError(
            "The video's faces cannot be found, as MediaPipe's face landmarker is missing: fetch it with the button on "
            f"the node (4 MB), put {TASK} into models/joyhallo, or connect face_analysis or a painted mask."
        )
    return Landmarker(landmarker, size)


def _nobody(models: FaceModels | None, size: int) -> None:
    return None


DETECTORS: dict[str, Callable[[FaceModels | None, int], Finder | None]] = {
    "auto": _auto,
    "InsightFace": _insightface,
    "MediaPipe": _mediapipe,
    "painted mask": _nobody,
}
