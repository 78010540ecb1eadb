"""Warnings are read on the node that found something, in the language of the page, and go when there is nothing."""

from __future__ import annotations

import wave

import pytest
from canvases import demo
from looks import CHINESE, PINNED, only, views

SENTENCES = {
    "en": "The recording is silent: every sample is zero. The mouth will hardly move.",
    "zh": "录音是静音的：所有采样都为零，嘴几乎不会动。",
}
CHOOSE = "([id, file]) => { app.graph.getNodeById(id).widgets[0].value = file }"
INSIDE = """([id, element]) => {
  const node = app.canvas.graph.getNodeById(id), {scale, offset} = app.canvas.ds
  const bottom = (node.pos[1] + node.size[1] + offset[1]) * scale + app.canvas.canvas.getBoundingClientRect().y
  const lines = document.querySelector(element).getBoundingClientRect()
  return lines.height > 0 && lines.bottom <= bottom + 1
}"""


@pytest.fixture(scope="module")
def silence(base):
    with wave.open(str(base / "input" / "silence.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(2 * 9_600))
    return "silence.wav"


@views(PINNED, CHINESE)
def test_a_warning_stands_on_the_node_until_a_run_has_none(page, view, silence):
    page.drop(demo(silence, JoyHalloSampler={0: 10 + view.seed, 4: 1.0}))
    node, recording = only(page.nodes("ChineseWav2Vec2Encode")), only(page.nodes("LoadAudio"))
    assert page.run() == "success"
    page.look_at(node, 0.8)
    told = page.tab.locator(".joyhallo-notice:visible")
    told.first.wait_for()
    assert told.all_inner_texts() == [SENTENCES[view.language]]
    if not view.nodes2:
        page.tab.wait_for_function(INSIDE, arg=[node, ".joyhallo-notice"])  # the node grows once its lines are laid out
    page.tab.evaluate(CHOOSE, [recording, "short.wav"])
    assert page.run() == "success"
    page.settle()
    assert told.count() == 0
    assert page.errors == []
