from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import comfy.model_management
import torch
from comfy_api.latest import io
from torch import Tensor

from ..joyhallo.config import FPS
from ..joyhallo.faces.boxes import Picture
from ..joyhallo.faces.find import FaceError, FaceMesh
from ..joyhallo.faces.known import KnownFaces, KnownMeshes
from ..joyhallo.faces.picture import as_picture
from ..joyhallo.film.write import as_floats
from ..joyhallo.methods.chunks import Progress
from ..joyhallo.methods.hallo.motion import curve
from ..joyhallo.methods.hallo.portrait import Prepared
from ..joyhallo.methods.puppet.hearing import Articulation, listen, open_ear
from ..joyhallo.methods.puppet.perform import PLACED, Direction, Spoken, at_once, perform, placed, poses
from ..joyhallo.methods.puppet.render import Pose, Puppet
from ..joyhallo.methods.puppet.sitter import Hints, Sitter, sit
from ..joyhallo.methods.room import Memory
from ..joyhallo.sound.audio import Sound, as_channels, checked_rate, prepare
from . import report
from .inputs import checked
from .model_folders import face_task, known_faces
from .preview import Preview, listed, stop
from .run import HELD, Job, OnStep, make
from .sockets import Face, Landmarks, OverTime, schema
from .video import sound_of

log = logging.getLogger(__name__)

# Bytes of memory for each pixel: of the moving window, for each frame that is made at a time, a third more than was
# measured; and of whole pictures in the computer's own: 3 for those being placed, 3 for those being written, and spare.
MOVED, WHOLE = 100, 8


class PuppetPortrait(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "PuppetPortrait",
            display_name="Puppet Portrait",
            description="Lets a picture speak at once, on any processor: moves the picture's own pixels with the "
            "speech, without a large model.",
            inputs=[
                io.Image.Input(
                    "image",
                    tooltip="One picture of a face, seen from the front, best with lips closed: a photo, a painting, a "
                    "drawing or a statue. The video has its size.",
                ),
                io.Audio.Input(
                    "audio",
                    tooltip="Speech in any language, at any sample rate, mono or stereo. It sets the length of the "
                    "video and is its sound, unchanged.",
                ),
                _strength("strength", 2.0, "How far the mouth moves: 0 not at all, 1 as in clear speech"),
                _strength("expressiveness", 2.0, "How much brows and nods go with stressed words: 0 not at all"),
                _strength("blinks", 3.0, "How often the eyes blink: 0 never, 1 as people do"),
                _strength("sway", 3.0, "How much the head sways and breathes: 0 not at all, 1 as a calm speaker"),
                io.Int.Input(
                    "seed",
                    default=42,
                    min=0,
                    max=0xFFFF_FFFF_FFFF_FFFF,
                    control_after_generate=True,
                    tooltip="A different number gives other blinks and head movements; the same number gives the same "
                    "video. The mouth follows the speech alone.",
                ),
                Face.Input(
                    "face",
                    optional=True,
                    tooltip="From Face & Mask Prep, run on the same picture: the face that was chosen there speaks.",
                ),
                Landmarks.Input(
                    "landmarks",
                    optional=True,
                    tooltip="From the MediaPipe Face Landmarker of newer ComfyUI versions, run on the same picture.",
                ),
                io.Mask.Input(
                    "lip_mask",
                    optional=True,
                    tooltip="For drawings, animals and statues, where no face is found: the closed lips, painted over "
                    "the picture exactly. Needs face_mask, too.",
                ),
                io.Mask.Input(
                    "face_mask",
                    optional=True,
                    tooltip="With lip_mask: the face, from forehead to chin, painted over the picture. Alone: the face "
                    "under it speaks, if there are several.",
                ),
            ],
            outputs=[
                io.Video.Output(
                    "video",
                    display_name="video",
                    tooltip="For Save Talking Video, at 25 frames a second, with the speech as its sound. It stays in "
                    "a file, however long it is.",
                ),
                io.String.Output(
                    "report",
                    display_name="report",
                    tooltip="How the face was found, how the video was made and how fast: connect Preview as Text, and "
                    "include it when you ask for help.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
            newer={"essentials_category": "Video Tools"},
        )

    @classmethod
    @checked
    def execute(
        cls,
        image: Tensor,
        audio: Any,
        strength: float | Sequence[float],
        expressiveness: float | Sequence[float],
        blinks: float | Sequence[float],
        sway: float | Sequence[float],
        seed: int,
        face: Prepared | None = None,
        landmarks: Any = None,
        lip_mask: Tensor | None = None,
        face_mask: Tensor | None = None,
    ) -> io.NodeOutput:
        picture = as_picture(image)
        waveform, rate = sound_of(audio)
        mesh = landmarks if face is None else mesh_of(face, picture)
        sitter = sit(picture, Hints(mesh, lip_mask, face_mask), known(), landmarker)
        recording = prepare(waveform, rate, stop)
        wishes = (curve(wish, recording.frames) for wish in (strength, expressiveness, blinks, sway))
        show = Show.of(picture, sitter, listen(open_ear(), recording), Direction(*wishes, seed=seed))
        job = show.job((as_channels(waveform), checked_rate(rate)))
        used = show.used()
        log.info("Making a video:\n%s", used)
        preview = Preview(show.puppet.still * 2 - 1, None, show.device, cls.hidden and cls.hidden.unique_id)
        made = make(job, preview)
        notices = (*recording.notices, *sitter.notices)
        facts = [used, made.plan, made.pace(), *report.warnings(notices)]
        return io.NodeOutput(made.video, report.shown(facts), ui=listed(notices))


@dataclass(frozen=True)
class Show:
    """A puppet, and all that it does."""

    puppet: Puppet
    picture: Tensor  # (height, width, 3) of bytes, where the puppet is
    sitter: Sitter
    heard: Articulation
    direction: Direction
    pose: Pose

    @classmethod
    def of(cls, picture: Picture, sitter: Sitter, heard: Articulation, direction: Direction) -> Show:
        pixels = torch.from_numpy(picture).to(comfy.model_management.get_torch_device())
        puppet = Puppet(as_floats(pixels).permute(2, 0, 1), sitter.features)
        return cls(puppet, pixels, sitter, heard, direction, poses(heard, direction))

    @property
    def device(self) -> torch.device:
        return self.picture.device

    def job(self, sound: Sound) -> Job:
        (height, width), together = self.puppet.window.shape, at_once(self.puppet)
        pixels = self.picture[..., 0].numel()
        memory = (MOVED + HELD * 12) * together * height * width
        return Job(
            chunks=self._chunks,
            placed=lambda chunk: placed(self.puppet, self.picture, chunk),
            count=-(-len(self.pose) // together),
            length=len(self.pose),
            rate=FPS,
            sound=sound,
            size=(self.picture.shape[1], self.picture.shape[0]),
            moving=(width, height),
            device=self.device,
            memory=Memory("Moving this picture", memory, memory, "use a smaller picture"),
            held=WHOLE * max(PLACED, pixels),
        )

    def _chunks(self, on_step: OnStep) -> Iterator[Spoken]:
        for chunk in perform(self.puppet, self.pose):
            yield chunk
            on_step(Progress(chunk.start + len(chunk.frames), len(self.pose)))

    def used(self) -> str:
        window, direction = self.puppet.window, self.direction
        wishes = {name: getattr(direction, name) for name in ("strength", "expressiveness", "blinks", "sway")}
        spans = [f"{name} {report.span(torch.as_tensor(wish))}" for name, wish in wishes.items()]
        opening = self.pose.mouth.opening
        lines = {
            "Versions": report.versions(),
            "Device": report.device(self.device),
            "Picture": f"{report.sized((self.picture.shape[1], self.picture.shape[0]))}, of which "
            f"{report.sized((int(window.width), int(window.height)))} move",
            "Face": f"found by {self.sitter.source}, mouth {2 * self.sitter.features.mouth.unit:.0f} pixels wide",
            "Motion": f"seed {direction.seed}, {', '.join(spans)}",
            "Mouth": f"open {opening.min():.2f} to {opening.max():.2f}, {opening.mean():.2f} on average; 1 is wide",
            "Labels": report.labels(),
        }
        return report.listed(lines)


def mesh_of(face: Prepared, picture: Picture) -> Any:
    found, given = face.picture.shape[1::-1], picture.shape[1::-1]
    if found != given:
        raise FaceError(
            f"The face was prepared from a picture of {report.sized(found)}, but the image has "
            f"{report.sized(given)}; connect the same picture to both nodes."
        )
    if face.face is None or face.face.mesh is None:
        raise FaceError(
            "The face was prepared from masks and has no landmarks; disconnect it, and connect the masks to lip_mask "
            "and face_mask here."
        )
    return face.face.mesh


def known() -> KnownMeshes | None:
    """The meshes of the pictures that come with the nodes."""
    file = known_faces()
    return None if file is None else KnownFaces(file).landmarker


def landmarker() -> FaceMesh | None:
    task = face_task()
    return None if task is None else FaceMesh(task)


def _strength(name: str, most: float, effect: str) -> OverTime:
    return OverTime(
        name,
        default=1.0,
        min=0.0,
        max=most,
        step=0.05,
        tooltip=f"{effect}, more exaggerates. Also takes a list with a number for each frame: see Motion over Time.",
    )
