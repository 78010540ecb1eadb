"""Finding faces, their identities and meshes (`FaceModels`), and choosing one (`choose`).

InsightFace finds the faces and recognises them, MediaPipe finds the mesh. A face is chosen once, and MediaPipe sees
only its surroundings, so that the two cannot mean different people.

InsightFace's model files are licensed for non-commercial research only, whatever the licence of this code.
"""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..files.contents import WeightsError, not_a_model, opened
from ..libraries import LibraryError, brief, library
from .boxes import Box, Picture, Points, Size, around, whole
from .regions import OUTLINE, Mask

log = logging.getLogger(__name__)

Choice = Literal["auto", "largest"] | int | Box | Mask

DETECTOR, RECOGNISER = "scrfd_10g_bnkps.onnx", "glintr100.onnx"
TASK = "face_landmarker_v2_with_blendshapes.task"
LARGEST_TASK = 256 << 20  # bytes; MediaPipe's have 4 MB
CANNOT_RUN = (OSError, RuntimeError, ValueError)  # of MediaPipe; the first where a .task is another zip archive
LICENCE = "InsightFace's models are for non-commercial research only"
INSIGHTFACE = ("Recognising a face", "or choose the neutral identity.")
MEDIAPIPE = ("Finding the outline of face and lips", "or give face landmarks, or masks for face and lips.")
DETECTION_SIZE = (640, 640)
SURE, UNSURE = 0.5, 0.35  # the detector's scores of a face, and of what may be one
MESH_POINTS = 468  # at least; 478 with the irises
OVERLAP = 0.2  # least overlap of a mesh with the detected face
CLEARLY_LARGER = 1.5  # area of the largest face over that of the next
NARROWEST = 100  # longest over shortest side of a picture
SMALLEST_SHARE = 20  # the picture's longest side over that of the smallest face that is found
MOST_FACES = 10  # the most that MediaPipe searches for in one picture

# Points of the mesh for the detector's marks: eyes, nose, corners of the mouth.
MESH_MARKS = ((33, 133), (362, 263), (1,), (61,), (291,))


class FaceError(ValueError):
    """The picture's faces are not suitable; the message says what was found and what to do."""


class Undecided(FaceError):
    """There are several faces, and the choice among them is not clear."""

    def __init__(self, message: str, boxes: Sequence[Box]):
        super().__init__(message)
        self.boxes = boxes  # from left to right


@dataclass(frozen=True)
class Face:
    box: Box
    score: float = 1.0
    marks: Points | None = None  # (5, 2): eyes, nose, corners of the mouth, from the picture's left
    identity: NDArray[np.float32] | None = None  # (512): the recogniser's output, of any length
    mesh: Points | None = None  # (468 or 478, 2)


@dataclass(frozen=True)
class Limits:
    """Requirements on a usable face."""

    smallest: int = 48  # pixels along its longest side
    visible: float = 0.9  # share of its box in the picture
    turned: float = 0.6  # most offset of the nose from the middle of the eyes, over their distance
    tilted: float = 45.0  # degrees by which the eyes may be off the horizontal


# ---- InsightFace


class InsightFace:
    """Finds boxes and identities of all faces. Runs on the CPU, as there is one picture per clip."""

    def __init__(self, folder: str | Path):
        """folder: the one with JoyHallo's files of the antelopev2 set, directly or in `models` or `antelopev2`."""
        models = _models_in(Path(folder))
        insightface = library("insightface.app", *INSIGHTFACE)
        # A folder as the name works in every version; with an empty name 2.1 would search the current directory.
        path = os.path.abspath(models)
        with _printing_to_log():
            try:
                self.analysis = insightface.FaceAnalysis(
                    name=path,
                    root=os.path.dirname(path),
                    allowed_modules=["detection", "recognition"],
                    providers=["CPUExecutionProvider"],
                )
                self.analysis.prepare(ctx_id=-1, det_thresh=UNSURE, det_size=DETECTION_SIZE)
            except Exception as error:  # protobuf, onnxruntime and assertion errors of a damaged file
                raise LibraryError(
                    f"The face models in {path} cannot be read ({brief(error)}); download {DETECTOR} and {RECOGNISER} "
                    f"again. {LICENCE}."
                ) from error
        if "recognition" not in self.analysis.models:
            raise LibraryError(f"{path}/{RECOGNISER} is not a face recogniser; download it again. {LICENCE}.")

    def faces(self, picture: Picture) -> list[Face]:
        """All faces from left to right. One that fills the picture is found in a second try, with a border added."""
        return [face for face in self.seen(picture) if face.score >= SURE]

    def seen(self, picture: Picture) -> list[Face]:
        """The same, and also what the detector is not sure of: see their scores."""
        check_shape(picture)
        found = self._look(picture)
        if all(face.score < SURE for face in found):
            border = max(picture.shape[:2]) // 2
            padded = np.pad(picture, ((border, border), (border, border), (0, 0)), "constant", constant_values=127)
            found = [_moved(face, -border) for face in self._look(padded)]
        return sorted(found, key=lambda face: face.box.center)

    def located(self, picture: Picture, side: int = DETECTION_SIZE[0]) -> list[Face]:
        """Boxes and marks alone, in no order, the unsure ones included. side: pixels at which the detector looks"""
        check_shape(picture)
        boxes, marks = self.analysis.det_model.detect(np.ascontiguousarray(picture[..., ::-1]), input_size=(side, side))
        return [Face(Box(*box[:4].tolist()), float(box[4]), points) for box, points in zip(boxes, marks, strict=True)]

    def identity(self, picture: Picture, marks: Points) -> NDArray[np.float32]:
        """Of the face whose marks these are."""
        face = SimpleNamespace(kps=np.asarray(marks, np.float32))
        found = self.analysis.models["recognition"].get(np.ascontiguousarray(picture[..., ::-1]), face)
        return np.asarray(found, np.float32)

    def _look(self, picture: Picture) -> list[Face]:
        faces = self.analysis.get(np.ascontiguousarray(picture[..., ::-1]))
        return [
            Face(Box(*map(float, face.bbox)), float(face.det_score), face.kps, np.asarray(face.embedding, np.float32))
            for face in faces
        ]


def _moved(face: Face, by: int) -> Face:
    marks = None if face.marks is None else face.marks + by
    return Face(face.box.moved(by, by), face.score, marks, face.identity)


def _models_in(folder: Path) -> Path:
    for place in (folder, folder / "models", folder / "antelopev2", folder / "models" / "antelopev2"):
        if (place / DETECTOR).is_file() and (place / RECOGNISER).is_file():
            return place
    found = sorted(path.name for path in folder.glob("**/*.onnx")) if folder.is_dir() else []
    raise LibraryError(
        f"{folder} should hold {DETECTOR} and {RECOGNISER}, but {_listed(found, 'no .onnx file')} was found; take "
        "them from InsightFace's antelopev2 set or from face_analysis/models of JoyHallo's weights. Embeddings of "
        f"other recognisers do not fit this model. {LICENCE}."
    )


# ---- MediaPipe


class FaceMesh:
    """MediaPipe's face landmarker."""

    def __init__(self, task: str | Path):
        """task: face_landmarker.task or face_landmarker_v2_with_blendshapes.task."""
        self.task = _task(Path(task))  # the content: MediaPipe cannot open every path on Windows
        self._kept: Any = None

    @contextmanager
    def at_work(self) -> Iterator[FaceMesh]:
        """Keep one MediaPipe landmarker for many pictures in a row."""
        try:
            landmarker = self._landmarker(MOST_FACES)
        except CANNOT_RUN as error:
            raise _cannot_run(error) from error
        with landmarker as self._kept:
            try:
                yield self
            finally:
                self._kept = None

    def mesh(self, picture: Picture, box: Box) -> Points:
        """The mesh of the face in the box, in the picture's pixels."""
        for window in (_around(box, picture), whole(_size(picture))):
            found = [(box.overlap(outline_box(mesh)), mesh) for mesh in self.meshes(picture, window)]
            overlap, mesh = max(found, key=lambda pair: pair[0], default=(0.0, None))
            if mesh is not None and overlap >= OVERLAP:
                return mesh
        raise FaceError(
            f"A face of {box} was found, but not its outline and lips; use a picture where it is larger, sharper and "
            "not covered, or give masks for face and lips."
        )

    def meshes(self, picture: Picture, window: Box | None = None, most: int = MOST_FACES) -> list[Points]:
        check_shape(picture)
        window = window or whole(_size(picture))
        left, top, right, bottom = map(int, (window.left, window.top, window.right, window.bottom))
        part = np.ascontiguousarray(picture[top:bottom, left:right])
        found = self._look(part, most)
        return [mesh * (right - left, bottom - top) + (left, top) for mesh in found]

    def anywhere(self, picture: Picture) -> list[Points]:
        """All meshes. MediaPipe misses faces below a seventh of the picture: if it finds none, parts are searched."""
        found = self.meshes(picture)
        if found:
            return found
        seen = [(part, mesh) for part in _parts(picture) for mesh in self.meshes(picture, part)]
        seen.sort(key=lambda one: -_covered_share(outline_box(one[1]), one[0], _size(picture)))
        for _, mesh in seen:  # keep each face from the part that shows it whole, if any
            if all(outline_box(mesh).overlap(outline_box(other)) < OVERLAP for other in found):
                found.append(mesh)
        return found

    def _look(self, picture: Picture, most: int) -> list[Points]:
        mediapipe = library("mediapipe", *MEDIAPIPE)
        try:
            # Close it here: a landmarker that is garbage-collected can deadlock.
            with nullcontext(self._kept) if self._kept and most == MOST_FACES else self._landmarker(most) as landmarker:
                image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=picture)
                faces = landmarker.detect(image).face_landmarks
        except CANNOT_RUN as error:
            raise _cannot_run(error) from error
        return [np.array([(point.x, point.y) for point in face]) for face in faces]

    def _landmarker(self, most: int) -> Any:
        mediapipe = library("mediapipe", *MEDIAPIPE)
        vision = library("mediapipe.tasks.python.vision", *MEDIAPIPE)
        options = vision.FaceLandmarkerOptions(
            base_options=mediapipe.tasks.BaseOptions(model_asset_buffer=self.task),
            running_mode=vision.RunningMode.IMAGE,
            num_faces=most,
        )
        return vision.FaceLandmarker.create_from_options(options)


def _task(path: Path) -> bytes:
    try:
        with opened(path) as file:
            content = file.read(LARGEST_TASK + 1)
        too_long = f"has more than {LARGEST_TASK >> 20} MB" if len(content) > LARGEST_TASK else None
        if problem := not_a_model(content[:512]) or too_long:
            raise WeightsError(f"{path.name} {problem}.")
        return content
    except WeightsError as error:
        raise LibraryError(
            f"{str(error).removesuffix('.')}; take {TASK} from face_analysis/models of JoyHallo's weights, or "
            "MediaPipe's face_landmarker.task."
        ) from error


def _cannot_run(error: Exception) -> LibraryError:
    return LibraryError(f"MediaPipe cannot run the face landmarker ({brief(error)}); download the .task file again.")


def _around(box: Box, picture: Picture) -> Box:
    """A box of twice the face's size, in which the landmarker's own detector works best."""
    (x, y), half = box.center, max(8, round(box.longest))
    return Box(round(x) - half, round(y) - half, round(x) + half, round(y) + half).within(whole(_size(picture)))


def _parts(picture: Picture) -> list[Box]:
    """Squares of half the picture's shorter side, which overlap by half."""
    width, height = _size(picture)
    side = max(16, min(width, height) // 2)
    starts = [[*range(0, length - side, max(1, side // 2)), max(0, length - side)] for length in (width, height)]
    return [Box(x, y, x + side, y + side).within(whole((width, height))) for y in starts[1] for x in starts[0]]


# ---- both


@dataclass(frozen=True)
class Finders:
    """The detector and the landmarker; either may be None if its result is given by hand."""

    detector: InsightFace | None = None
    landmarker: FaceMesh | None = None


class FaceModels:
    """Finders that load on first use and are kept, so that a library that is not needed may be missing."""

    def __init__(self, folder: str | Path | None = None, task: str | Path | None = None):
        """folder: of the InsightFace models; task: MediaPipe's face landmarker. See InsightFace and FaceMesh."""
        self.folder, self.task = folder, task

    @cached_property
    def detector(self) -> InsightFace | None:
        return None if self.folder is None else InsightFace(self.folder)

    @cached_property
    def landmarker(self) -> FaceMesh | None:
        return None if self.task is None else FaceMesh(self.task)


# ---- given meshes


def as_meshes(points: Any, size: Size) -> list[Points]:
    """Convert given face meshes, in pixels: (468 or 478, 2 or more) for one face, a list of these, or ComfyUI's
    FACE_LANDMARKS."""
    if isinstance(points, Mapping):
        return meshes_from_comfyui(points, size)
    array = _array_of(points)
    if not array.size:
        return []
    return [as_mesh(mesh, size) for mesh in (array if array.ndim == 3 else array[None])]


def as_mesh(points: Any, size: Size) -> Points:
    """Check and convert the points of one face."""
    mesh = _array_of(points)
    if mesh.ndim != 2 or len(mesh) < MESH_POINTS or mesh.shape[1] < 2:
        raise FaceError(
            f"The face landmarks have the shape {mesh.shape}; expected the 468 or 478 points (x, y) of MediaPipe's "
            "face mesh."
        )
    mesh = mesh[:, :2]
    if not np.isfinite(mesh).all():
        raise FaceError("The face landmarks hold values that are not numbers; check what produced them.")
    box = outline_box(mesh)
    if box.longest <= 2 < max(size):
        raise FaceError(
            "The face landmarks span less than 2 pixels; give them in pixels, not as fractions of the picture."
        )
    if box.within(whole(size)).area == 0:
        raise FaceError(
            f"The face landmarks lie at {box}, outside the picture of {size[0]}x{size[1]}; give those of this picture."
        )
    return mesh


def _array_of(points: Any) -> NDArray[np.float64]:
    try:
        return np.asarray(points, np.float64)
    except (TypeError, ValueError) as error:
        raise FaceError(
            f"The face landmarks are a {type(points).__name__} that holds no points; expected the 468 or 478 points "
            "(x, y) of MediaPipe's face mesh."
        ) from error


def meshes_from_comfyui(landmarks: Mapping[str, Any], size: Size) -> list[Points]:
    """Convert the FACE_LANDMARKS of ComfyUI's own MediaPipe Face Landmarker for one picture."""
    try:
        frames, (height, width) = landmarks["frames"], landmarks["image_size"]
        found = [face["landmarks_xy"] for frame in frames for face in frame]
    except (KeyError, TypeError, ValueError) as error:
        raise FaceError(
            f"These face landmarks have an unknown format ({brief(error)}); expected the output of ComfyUI's "
            "MediaPipe Face Landmarker."
        ) from error
    if len(frames) > 1:
        raise FaceError(
            f"The face landmarks are those of {len(frames)} pictures; connect only the speaking picture to the "
            "landmarker."
        )
    if (width, height) != size:
        raise FaceError(
            f"The face landmarks were found in a picture of {width}x{height}, but this one has {size[0]}x{size[1]}; "
            "connect the same picture to both."
        )
    return [as_mesh(face, size) for face in found]


def face_of(mesh: Points) -> Face:
    marks = np.stack([mesh[list(points)].mean(0) for points in MESH_MARKS])
    return Face(outline_box(mesh), marks=marks, mesh=mesh)


def outline_box(mesh: Points) -> Box:
    return around(mesh[list(OUTLINE)])


# ---- one face


def choose(faces: Sequence[Face], choice: Choice, size: Size) -> Face:
    """Choose one of the faces, which are ordered from left to right.

    "auto" takes the only one, or one that is clearly the largest; "largest" the largest in any case; a number counts
    from the left, from 0; a box or a mask tells where it is.
    """
    if not faces:
        raise FaceError(
            f"No face was found in this picture of {size[0]}x{size[1]}; use one that shows a face from the front, "
            f"upright and sharp. If it is small, below about {least_found(size)} pixels, crop the picture to it. "
            "For a drawing, give masks for face and lips and choose the neutral identity."
        )
    if isinstance(choice, str):
        return _largest(faces, choice)
    if isinstance(choice, (Box, np.ndarray)):
        return _at(faces, choice, size)
    if not 0 <= choice < len(faces):
        raise FaceError(f"Face {choice} does not exist: {_enumerated(faces)}; numbers count from the left, from 0.")
    return faces[choice]


def _largest(faces: Sequence[Face], choice: str) -> Face:
    if choice not in ("auto", "largest"):
        raise FaceError(f"The face cannot be chosen by {choice!r}; give auto, largest, a number, a box or a mask.")
    ordered = sorted(faces, key=lambda face: -face.box.area)  # stable: of two alike, the left one
    if choice == "auto" and len(ordered) > 1 and ordered[0].box.area < CLEARLY_LARGER * ordered[1].box.area:
        raise FaceError(
            f"{_enumerated(faces)}, and none is clearly the largest; choose one by its number, draw a mask over it, or "
            'ask for "largest".'
        )
    return ordered[0]


def _at(faces: Sequence[Face], where: Box | Mask, size: Size) -> Face:
    """The face that is covered most."""
    shares = [_covered_share(face.box.within(whole(size)), where, size) for face in faces]
    order = sorted(range(len(faces)), key=lambda i: -shares[i])
    if shares[order[0]] < 0.01:
        raise FaceError(f"{_enumerated(faces)}, but none where the box or mask is; move it onto a face.")
    if len(order) > 1 and shares[order[1]] > shares[order[0]] / 2:
        raise FaceError(
            f"{_enumerated(faces)}, and the box or mask covers more than one; make it cover only one, or choose one "
            "by its number."
        )
    return faces[order[0]]


def _covered_share(box: Box, where: Box | Mask, size: Size) -> float:
    if box.area == 0:
        return 0.0
    if isinstance(where, Box):
        return box.within(where).area / box.area
    mask = where if where.shape[::-1] == size else np.array(Image.fromarray(where).resize(size))
    part = mask[int(box.top) : int(np.ceil(box.bottom)), int(box.left) : int(np.ceil(box.right))]
    return float((part >= 128).mean())


def check_face(face: Face, size: Size, limits: Limits) -> None:
    """Raise a FaceError if the face is too small, cut off, on its side or turned away."""
    if face.box.longest < limits.smallest:
        raise FaceError(
            f"The face is only {face.box}, too small to recognise ({limits.smallest} pixels at least); use a larger "
            "picture of it, ideally with a face of 300 pixels."
        )
    visible = face.box.within(whole(size)).area / face.box.area
    if visible < limits.visible:
        raise FaceError(
            f"Only {visible:.0%} of the face lies in the picture: it is {face.box}, the picture {size[0]}x{size[1]}; "
            "use one that shows the whole face, from forehead to chin."
        )
    if face.marks is not None and abs(angle := tilt(face.marks)) > limits.tilted:
        raise lying(angle)
    if face.marks is not None and (turned := turn(face.marks)) > limits.turned:
        raise FaceError(
            f"The face is turned away: its nose lies {turned:.2f} eye distances off the middle of the eyes, more than "
            f"{limits.turned:.2f}; use a picture that shows it from the front."
        )


def lying(angle: float) -> FaceError:
    """angle: by which the face is turned clockwise, in degrees"""
    quarters = -round(angle / 90) % 4
    how = "upside down" if abs(angle) > 135 else "on its side"
    return FaceError(
        f"The face is {how}, turned about {abs(angle):.0f} degrees {'' if angle > 0 else 'counter'}clockwise; rotate "
        f"the picture upright first, in ComfyUI with the node ImageRotate by {90 * quarters} degrees."
    )


def least_found(size: Size) -> int:
    """Pixels along its longest side that a face needs, so that the finders see it and it can be recognised."""
    return max(Limits.smallest, round(max(size) / SMALLEST_SHARE))


def tilt(marks: Points) -> float:
    """Degrees by which the line of the eyes is turned clockwise, from -180 to 180; 0 is upright."""
    across, down = marks[1] - marks[0]
    return float(np.degrees(np.arctan2(down, across)))


def turn(marks: Points) -> float:
    """Offset of the nose from the middle of the eyes, along their line, over their distance: 0 from the front."""
    left, right, nose = marks[:3]
    line = right - left
    return float(abs((nose - (left + right) / 2) @ line) / max(line @ line, 1e-9))


def check_shape(picture: Picture) -> None:
    height, width = picture.shape[:2]
    if min(width, height) < 16 or max(width, height) > NARROWEST * min(width, height):
        raise FaceError(f"The picture is {width}x{height} pixels, too small or too narrow to hold a face; use another.")


# ---- words


@contextmanager
def _printing_to_log():
    """Send the prints of InsightFace 1.0 to the log."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        yield
    for line in printed.getvalue().splitlines():
        log.debug("insightface: %s", line)


def _size(picture: Picture) -> Size:
    return picture.shape[1], picture.shape[0]


def _enumerated(faces: Sequence[Face]) -> str:
    listed = "; ".join(f"{i}: {face.box}" for i, face in enumerate(faces))
    return f"{len(faces)} faces were found ({listed})" if len(faces) > 1 else f"1 face was found ({listed})"


def _listed(names: Sequence[str], none: str) -> str:
    return ", ".join(names) if names else none
