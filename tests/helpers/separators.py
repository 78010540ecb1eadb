"""A stand-in for the network that separates a voice from music."""

from __future__ import annotations

from pathlib import Path

import pytest

from joyhallo.sound.vocals import BINS


def fake_network(path: Path, bins: int = BINS) -> Path:
    """An ONNX file with the signature of Kim_Vocal_2.onnx: it halves the spectrum."""
    onnx = pytest.importorskip("onnx")
    helper, kind, shape = onnx.helper, onnx.TensorProto.FLOAT, ["batch_size", 4, bins, 256]
    half = helper.make_tensor("half", kind, [1], [0.5])
    graph = helper.make_graph(
        [helper.make_node("Mul", ["input", "half"], ["output"])],
        "separator",
        [helper.make_tensor_value_info("input", kind, shape)],
        [helper.make_tensor_value_info("output", kind, shape)],
        [half],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)
    return path
