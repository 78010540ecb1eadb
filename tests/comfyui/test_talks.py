"""The bundled model through the nodes: what it is for, at its shortest."""

import shutil

import numpy as np
import pytest

from joyhallo.evaluation.drawn.acceptance import ALL, follow
from joyhallo.evaluation.drawn.makers import How, open_engine
from joyhallo.evaluation.drawn.talks import talks
from tools.comfyui.films import Nodes
from tools.demo_model.bundle import FOLDER

pytestmark = pytest.mark.skipif(
    shutil.which("espeak-ng") is None, reason="espeak-ng is not installed, so nobody says anything"
)
USUAL = How()


def test_the_mouth_follows_the_sound(client, base):
    """Two talks, each mouth against the other's truth as well. tests/test_evaluation.py shows that it can fail."""
    said, nodes = talks(2, 48, USUAL.size), Nodes(client, base, USUAL)
    mouths = [talk.gauge.opening(nodes.make(talk, talk.samples, ALL, seed=42)) for talk in said]
    found = follow(mouths, [talk.opening for talk in said])
    assert found.is_clear, found


def test_the_nodes_make_what_the_engine_makes(client, base):
    (talk,) = talks(1, 24, 64)
    how = How(size=64, steps=2, guidance=1.5)
    made = Nodes(client, base, how).make(talk, talk.samples, (1.0, 1.0, 0.5), seed=7)
    expected = open_engine(FOLDER, how).make(talk, talk.samples, (1.0, 1.0, 0.5), seed=7)
    assert made.shape == expected.shape
    assert np.abs(made.astype(int) - expected).max() <= 2  # levels of 255
    assert np.std(made) > 10
