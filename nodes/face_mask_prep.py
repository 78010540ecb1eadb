from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ..joyhallo.faces.boxes import Picture
from ..joyhallo.faces.find import FaceModels, Undecided
from ..joyhallo.faces.picture import as_picture
from ..joyhallo.faces.regions import FACE_EXPAND, LIP_EXPAND, Mask
from ..joyhallo.methods.hallo.overlay import numbered, overlay
from ..joyhallo.methods.hallo.portrait import CHOICES, FRAMINGS, IDENTITIES, Framing, Wishes, prepare
from .inputs import checked
from .preview import FACES, faces_shown, listed, offer_faces
from .sockets import Face, FaceAnalysis, Landmarks, chosen, schema


class FaceMaskPrep(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "FaceMaskPrep",
            display_name="Face & Mask Prep",
            description="Finds the speaking face, crops to it, and makes head, face and lip masks.",
            inputs=[
                io.Image.Input("image", tooltip="One portrait, seen from the front, with eyes open and lips closed."),
                io.Combo.Input(
                    "which_face",
                    options=list(CHOICES),
                    default="auto",
                    tooltip="Who speaks if there are several people. auto: the face under face_mask, or else the one "
                    "that is clearly the largest. 0 is the first from the left, 1 the next. You can also click a "
                    "face shown on the node.",
                ),
                io.Combo.Input(
                    "framing",
                    options=list(FRAMINGS),
                    default="face",
                    tooltip="face: animates a square around the face and leaves the rest as it is. whole picture: "
                    "animates all of it; it must be square.",
                ),
                _expand("face_expand", FACE_EXPAND, "face"),
                _expand("lip_expand", LIP_EXPAND, "lips"),
                io.Combo.Input(
                    "identity",
                    options=list(IDENTITIES),
                    default="from the picture",
                    tooltip="from the picture: InsightFace extracts the face's identity, so that the video keeps the "
                    "likeness. neutral: no identity, for drawings and animals, or where InsightFace's licence "
                    "does not allow its use.",
                ),
                FaceAnalysis.Input(
                    "face_analysis",
                    optional=True,
                    tooltip="From Load JoyHallo Models: finds the face, its outline and its lips. Needed unless "
                    "identity is neutral and landmarks, or both masks, are connected.",
                ),
                io.Mask.Input(
                    "face_mask",
                    optional=True,
                    tooltip="The face, from forehead to chin, painted over the picture. It replaces the detected "
                    "outline and face_expand.",
                ),
                io.Mask.Input(
                    "lip_mask",
                    optional=True,
                    tooltip="The lips with some room around them, painted over the picture. It replaces the detected "
                    "lips and lip_expand.",
                ),
                Landmarks.Input(
                    "landmarks",
                    optional=True,
                    tooltip="From the MediaPipe Face Landmarker of newer ComfyUI versions, run on the same picture: "
                    "its outlines of face and lips are used, and none are searched for.",
                ),
            ],
            outputs=[
                Face.Output("face", display_name="face", tooltip="For JoyHallo Sampler."),
                io.Image.Output(
                    "square",
                    display_name="square",
                    tooltip="The part of the picture that is animated, cropped at its original size.",
                ),
                _region("pose", "the head moves against what is behind it"),
                _region("expression", "brows, eyes and cheeks move"),
                _region("lip", "the lips move"),
                io.Image.Output(
                    "overlay",
                    display_name="overlay",
                    tooltip="A preview: the square within the picture, lips in blue, expression in yellow, pose in "
                    "purple, and the number of each face if there are several.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
            advanced=("face_expand", "lip_expand"),
            newer={"has_intermediate_output": True},  # the faces are there again after the page is loaded anew
        )

    @classmethod
    @checked
    def execute(
        cls,
        image: Tensor,
        which_face: str,
        framing: str,
        face_expand: float,
        lip_expand: float,
        identity: str,
        face_analysis: FaceModels | None = None,
        face_mask: Tensor | None = None,
        lip_mask: Tensor | None = None,
        landmarks: Any = None,
    ) -> io.NodeOutput:
        wishes = Wishes(
            choice=chosen(CHOICES, which_face, "which_face"),
            mesh=landmarks,
            face_mask=face_mask,
            lip_mask=lip_mask,
            identity=chosen(IDENTITIES, identity, "identity"),
        )
        frames = Framing(chosen(FRAMINGS, framing, "framing"), expand=face_expand, lip_expand=lip_expand)
        try:
            prepared = prepare(image, face_analysis, wishes, frames)
        except Undecided as undecided:
            picture = as_picture(image)
            offer_faces(cls.hidden, picture, numbered(picture, undecided.boxes), undecided.boxes)
            raise
        regions, found, marked = prepared.regions.at(prepared.crop.seen), prepared.found, overlay(prepared)
        return io.NodeOutput(
            prepared,
            _output(prepared.window),
            _output(regions.pose),
            _output(regions.expression),
            _output(regions.lip),
            _output(marked),
            ui={
                FACES: [faces_shown(prepared.picture, marked, found.boxes if found else (), found and found.number)],
                **listed(prepared.notices),
            },
        )


def _expand(name: str, default: float, part: str) -> io.Float.Input:
    return io.Float.Input(
        name,
        default=default,
        min=0.5,
        max=4.0,
        step=0.05,
        tooltip=f"Size of the rectangle for the {part}, relative to the {part} itself: 1 is the same size, "
        f"{default:g} is what the model was trained with; a larger one lets more around the {part} move.",
    )


def _region(name: str, effect: str) -> io.Mask.Output:
    return io.Mask.Output(
        name,
        display_name=name,
        tooltip=f"Where in the square {effect}. Edit it with any mask node and connect it to {name}_mask of JoyHallo "
        "Sampler.",
    )


def _output(picture: Picture | Mask) -> Tensor:
    """Convert 8 bits to a batch of one, in 0..1."""
    return torch.from_numpy(picture)[None].float() / 255
