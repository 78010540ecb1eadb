"""Dialogue Turns in ComfyUI: three ways to two tracks."""

from __future__ import annotations

import pytest
import torch

from tools.comfyui.workflow import Graph

ORDER = "one after the other"


@pytest.fixture(scope="module")
def node(pack):
    return pack.nodes.turns.JoyHalloTurns


def sound(seconds: float, rate: int = 8000, seed: int = 0) -> dict:
    drawn = 0.1 * torch.randn(1, 1, round(seconds * rate), generator=torch.Generator().manual_seed(seed))
    return {"waveform": drawn, "sample_rate": rate}


def tracks(found) -> list[torch.Tensor]:
    assert len({audio["sample_rate"] for audio in found.args}) == 1
    waveforms = [audio["waveform"] for audio in found.args]
    assert len({waveform.shape for waveform in waveforms}) == 1
    return waveforms


def test_turns_of_one_recording(node):
    audio = sound(2)
    first, second, both = tracks(node.execute(audio, "1: 0-0.5, 2: 0.5-1.5, 1: 1.5-", ORDER))
    assert torch.equal(both, audio["waveform"])
    assert (first[..., 4000:12_000] == 0).all()
    assert (second[..., :4000] == 0).all()
    assert (second[..., 12_000:] == 0).all()
    assert torch.equal(first[..., :3900], both[..., :3900])
    assert torch.equal(second[..., 4100:11_900], both[..., 4100:11_900])


def test_two_recordings_after_one_another_or_at_once(node):
    one, other = sound(1), sound(0.5, seed=1)
    first, second, both = tracks(node.execute(one, "", ORDER, other))
    assert torch.equal(both, torch.cat([one["waveform"], other["waveform"]], -1))
    assert torch.equal(first + second, both)
    first, second, both = tracks(node.execute(one, " ", "at the same time", other))
    assert torch.equal(first, one["waveform"])
    assert torch.equal(first + second, both)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ((sound(1), "", ORDER), "There are no turns. Write who speaks"),
        ((sound(1), "1: 0-0.5", ORDER), "Speaker 2 has no turn"),
        ((sound(1), "1: 0-0.5, 2: 0.5-3", ORDER), r"beyond the recording, which ends at 1\.00 s"),
        ((sound(1), "1: 0-0.5, 2: 0.5-", ORDER, sound(1)), "clear `turns`, or disconnect `second_audio`"),
        ((sound(1), "", "now", sound(1)), "`order` is 'now'; choose one of: one after the other, at the same time"),
        (({}, "1: 0-", ORDER), "`audio` is a dict: no sound"),
        ((sound(1), "", ORDER, {"waveform": None}), "`second_audio` is a dict: no sound"),
    ],
)
def test_mistakes_are_told(node, inputs, words):
    with pytest.raises(ValueError, match=words):
        node.execute(*inputs)


def test_it_runs_in_comfyui(client):
    graph = Graph()
    audio = graph.add("LoadAudio", audio="speech.wav")
    turns = graph.add("JoyHalloTurns", audio=audio[0], turns="1: 0-0.8\n2: 0.8-", order=ORDER)
    heard = [graph.add("PreviewAudio", audio=turns[number]) for number in range(3)]
    run = client.run(graph)
    assert run.status == "success", run.message
    assert all(run.files(node.node) for node in heard)
