"""Small stand-ins with the signatures of the face models: a detector that sees coloured dots, a recogniser of noise.

A dot of 2 strides or more at the detector's 640 pixels is a face: red of 80, green of 160, blue of 320 pixels. If it is
asked to, it sees the faces of the demo's drawings as well, by their skin.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tools.pictures.portrait import COUPLE

STRIDES = (8, 16, 32)
REACH = 5.0  # from the dot to each side of the box, in strides
COLORS = {80: (255, 0, 0), 160: (0, 255, 0), 320: (0, 0, 255)}
ALIKE = 45  # how far a colour may be off the skin of a drawing
RING = 15
SHARE = 0.635  # of skin in a face, less that around it


def write_models(
    folder: Path,
    nose: float = 0.0,
    names: tuple[str, str] = ("scrfd_10g_bnkps", "glintr100"),
    drawings: bool = False,
) -> Path:
    """nose: how far it lies off the middle of the eyes, in strides; the eyes are 4 apart."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(detector(nose, drawings), folder / f"{names[0]}.onnx")
    onnx.save(recogniser(), folder / f"{names[1]}.onnx")
    return folder


def detector(nose: float, drawings: bool = False) -> onnx.ModelProto:
    """Input (1, 3, height, width); outputs scores, boxes and marks per stride, two anchors per cell."""
    marks = [-2, -1.5, 2, -1.5, nose, 0, -1.5, 2, 1.5, 2]
    nodes, weights, outputs = [], [], {"score": [], "box": [], "marks": []}

    def constant(name: str, value) -> str:
        weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    constant("flat", np.array([-1, 1], np.int64))
    constant("zero", np.zeros(1, np.float32))
    if drawings:
        constant("one", np.float32([1]))
        constant("summed", np.full((1, 3, 1, 1), -128 / ALIKE, np.float32))
        for number, look in enumerate(COUPLE):
            seen = constant(f"seen{number}", (np.array(look.skin, np.float32).reshape(1, 3, 1, 1) - 127.5) / 128)
            nodes.append(helper.make_node("Sub", ["input.1", seen], [f"off{number}"]))
            nodes.append(helper.make_node("Abs", [f"off{number}"], [f"apart{number}"]))
            nodes.append(helper.make_node("Conv", [f"apart{number}", "summed", "one"], [f"alike{number}"]))
            nodes.append(helper.make_node("Relu", [f"alike{number}"], [f"skin_of{number}"]))
        nodes.append(helper.make_node("Sum", [f"skin_of{number}" for number in range(len(COUPLE))], ["skin"]))
        constant("ring", ring())
    for channel, stride in enumerate(STRIDES):
        mix = np.full((1, 3, 1, 1), -0.5, np.float32)
        mix[0, channel] = 1  # 2 for the pure colour, 0 for greys
        nodes.append(helper.make_node("Conv", ["input.1", constant(f"mix{stride}", mix)], [f"hue{stride}"]))
        nodes.append(
            helper.make_node(
                "AveragePool", [f"hue{stride}"], [f"mean{stride}"], kernel_shape=[stride] * 2, strides=[stride] * 2
            )
        )
        scaled = constant(f"gain{stride}", np.float32(12)), constant(f"bias{stride}", np.float32(-21))
        nodes.append(helper.make_node("Mul", [f"mean{stride}", scaled[0]], [f"gained{stride}"]))
        nodes.append(helper.make_node("Add", [f"gained{stride}", scaled[1]], [f"logit{stride}"]))
        if drawings:
            pooled = {"kernel_shape": [stride] * 2, "strides": [stride] * 2}
            nodes.append(helper.make_node("AveragePool", ["skin"], [f"skin{stride}"], **pooled))
            nodes.append(helper.make_node("Conv", [f"skin{stride}", "ring"], [f"share{stride}"], pads=[RING // 2] * 4))
            steep = constant(f"steep{stride}", np.float32(100)), constant(f"edge{stride}", np.float32(-100 * SHARE))
            nodes.append(helper.make_node("Mul", [f"share{stride}", steep[0]], [f"raised{stride}"]))
            nodes.append(helper.make_node("Add", [f"raised{stride}", steep[1]], [f"drawn{stride}"]))
            nodes.append(helper.make_node("Max", [f"logit{stride}", f"drawn{stride}"], [f"either{stride}"]))
        found = f"either{stride}" if drawings else f"logit{stride}"
        nodes.append(helper.make_node("Sigmoid", [found], [f"cell{stride}"]))
        nodes.append(helper.make_node("Reshape", [f"cell{stride}", "flat"], [f"cells{stride}"]))
        nodes.append(helper.make_node("Concat", [f"cells{stride}"] * 2, [f"anchors{stride}"], axis=1))
        nodes.append(helper.make_node("Reshape", [f"anchors{stride}", "flat"], [f"score{stride}"]))
        nodes.append(helper.make_node("Mul", [f"score{stride}", "zero"], [f"nothing{stride}"]))
        for name, values in ("box", [REACH] * 4), ("marks", marks):
            row = constant(f"{name}_values{stride}", np.array([values], np.float32))
            nodes.append(helper.make_node("Add", [f"nothing{stride}", row], [f"{name}{stride}"]))
        for name, width in ("score", 1), ("box", 4), ("marks", 10):
            info = helper.make_tensor_value_info(f"{name}{stride}", TensorProto.FLOAT, [None, width])
            outputs[name].append(info)
    picture = helper.make_tensor_value_info("input.1", TensorProto.FLOAT, [1, 3, "?", "?"])
    ordered = [*outputs["score"], *outputs["box"], *outputs["marks"]]
    return _model(helper.make_graph(nodes, "detector", [picture], ordered, weights))


def ring() -> np.ndarray:
    """What is in the middle less what is around it, over cells of a stride."""
    inside, outside = np.zeros((RING, RING), bool), np.ones((RING, RING), bool)
    inside[3:-3, 4:-4] = True
    outside[2:-2, 3:-3] = False
    return (inside / inside.sum() - outside / outside.sum()).astype(np.float32)[None, None]


def recogniser() -> onnx.ModelProto:
    """(batch, 3, 112, 112) -> (batch, 512): a fixed random projection of the coarse picture."""
    matrix = np.random.default_rng(0).normal(0, 0.2, (768, 512)).astype(np.float32)
    nodes = [
        helper.make_node("AveragePool", ["input.1"], ["coarse"], kernel_shape=[7, 7], strides=[7, 7]),
        helper.make_node("Flatten", ["coarse"], ["row"]),
        helper.make_node("MatMul", ["row", "matrix"], ["1333"]),
    ]
    picture = helper.make_tensor_value_info("input.1", TensorProto.FLOAT, [None, 3, 112, 112])
    identity = helper.make_tensor_value_info("1333", TensorProto.FLOAT, [None, 512])
    return _model(
        helper.make_graph(nodes, "recogniser", [picture], [identity], [numpy_helper.from_array(matrix, "matrix")])
    )


def _model(graph: onnx.GraphProto) -> onnx.ModelProto:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def picture_of(faces: list[tuple[int, int, int]], width: int, height: int, seed: int = 0) -> np.ndarray:
    """faces: (x, y, size); sizes 80, 160 and 320 are those at the detector's scale, which is that of the picture if
    its longest side is 640."""
    picture = np.random.default_rng(seed).integers(100, 140, (height, width, 1), dtype=np.uint8).repeat(3, 2)
    scale = max(width, height) / 640
    for x, y, size in faces:
        half = round(size / 10 * scale * 1.2)
        picture[max(0, y - half) : y + half, max(0, x - half) : x + half] = COLORS[size]
    return picture
