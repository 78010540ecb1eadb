"""Motion over Time in ComfyUI: what it hands on, what it shows, and what it says of mistakes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from film import Film
from parity_speech import seeded_encoder

DEFAULTS = {
    "expressiveness": "natural",
    "pose": "1",
    "expression": "1",
    "lip": "1",
    "rest_in_pauses": True,
    "sensitivity": 0.0,
    "attack": 3,
    "release": 5,
}
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32}
SIZES |= {"conv_dim": [16] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}


@pytest.fixture(scope="module")
def node(pack):
    return pack.nodes.motion.JoyHalloMotion


@pytest.fixture(scope="module")
def speech(pack):
    """Two seconds of sound, the second from 1.2 s on silent but for a hiss: 50 frames, the last 20 a pause."""
    sound = 0.2 * torch.sin(2 * torch.pi * 200 * torch.arange(32_000) / 16_000)
    sound[19_200:] = 0
    sound += 1e-3 * torch.randn(32_000, generator=torch.Generator().manual_seed(0))
    ours = pack.joyhallo
    encoder = ours.sound.wav2vec2.Encoder(seeded_encoder(SIZES).model, "a small one", False)
    return ours.sound.wav2vec2.encode(encoder, ours.sound.audio.Recording(sound))


@pytest.fixture
def run(node, speech):
    def run(**inputs):
        return node.execute(speech, **{**DEFAULTS, **inputs}).args

    return run


def test_the_lips_rest_where_nobody_speaks(run):
    pose, expression, lip, _ = run()
    assert pose == expression == [1.0] * 50
    assert all(type(value) is float for value in lip)
    assert lip[:30] == [1.0] * 30
    assert lip[30:35] == pytest.approx([0.5 - 0.5 * np.cos(np.pi * k / 6) for k in (5, 4, 3, 2, 1)])
    assert lip[35:] == [0.0] * 15
    assert run(rest_in_pauses=False)[2] == [1.0] * 50
    assert run(release=0)[2] == [1.0] * 30 + [0.0] * 20
    assert run(sensitivity=-20.0)[2] == [1.0] * 50


def test_schedules_and_expressiveness_multiply(run, pack):
    pose, expression, lip, _ = run(
        pose="0: 1, 1: 0", expression="0.5", lip="2", expressiveness="calm", rest_in_pauses=False
    )
    calm = pack.joyhallo.methods.hallo.motion.EXPRESSIVENESS["calm"]
    assert np.allclose(pose, calm[0] * np.interp(np.arange(50), [0, 25], [1, 0]), atol=1e-6)
    assert np.allclose([expression[0], lip[0]], [0.5 * calm[1], 2 * calm[2]])


def test_the_sampler_can_be_given_what_comes_out(run, pack):
    ours = pack.joyhallo.methods.hallo.motion
    for values in run(pose="0: 1, 1: 0")[:3]:
        assert torch.equal(ours.curve(values, 50), torch.tensor(values))


def test_the_plot_shows_pauses_and_curves(run):
    plot = run(expression="0.5", pose="0.7")[3]
    assert plot.shape == (1, 320, 768, 3)
    assert 0 <= plot.min() < plot.max() == 1
    pixels = (plot[0] * 255).round().int()
    pause = (pixels == torch.tensor([240, 240, 234])).all(-1)
    assert pause[:, 500:].float().mean() > 0.5  # the last 20 of 50 frames
    assert not pause[:, :440].any()
    for color in ([0, 114, 178], [230, 159, 0], [204, 121, 167], [196, 196, 196]):
        assert (pixels == torch.tensor(color)).all(-1).sum() > 100, color
    assert not torch.equal(run(lip="0.5")[3], plot)


def test_mistakes_are_told_before_anything_runs(node):
    check = node.validate_inputs
    assert check(pose="1", expression="0: 1, 2: 0", lip=None) is True
    assert check(pose="1", expression="0: 1, 2", lip="1").startswith("expression: '2' is not a keyframe")
    assert check(pose="1", expression="1", lip="").startswith("lip: The schedule is empty")


def test_what_is_no_speech_is_said(node):
    with pytest.raises(ValueError, match=r"`speech` is the text .*; connect the output of Chinese Wav2Vec2 Encode"):
        node.execute("speech", **DEFAULTS)


def test_it_runs_in_comfyui(client):
    graph = Film()
    motion = graph.add("JoyHalloMotion", speech=graph.speech[0], **DEFAULTS)
    shown = graph.add("PreviewImage", images=motion[3])
    for node in (graph.sampler.node, graph.saved.node):
        del graph[node]
    run = client.run(graph)
    assert run.status == "success", run.message
    assert len(run.files(shown.node)) == 1
    graph[motion.node]["inputs"]["pose"] = "0: high"
    run = client.run(graph)
    assert run.status == "invalid"
    assert "pose: The strength 'high' in '0: high' is not a number" in run.message
