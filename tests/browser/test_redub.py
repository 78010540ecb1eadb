"""Whoever has a video, a recording and the files: opens a template, presses Run, and sees the video redubbed."""

from __future__ import annotations

import pytest
from looks import check_seen, only

from joyhallo.film.read import Film
from tools.demo_model.bundle import FOLDER

HEAR = """file => {
  const [node] = app.graph.nodes.filter(({type}) => type === 'LoadAudio')
  node.widgets.find(({name}) => name === 'audio').value = file
}"""
TEMPLATES = (
    "redub",
    "redub_latentsync",
    "redub_another_model",
    "sharper_lips",
    "restore_faces",
    "which_is_better",
    "align_sound",
)


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_asks_for_nothing_that_is_there(redub_page, name):
    redub_page.template(name)
    assert redub_page.missing() == []
    redub_page.tab.wait_for_timeout(500)  # the panels ask the server
    assert redub_page.tab.locator(".joyhallo-rows:visible").count() == 0
    assert redub_page.errors == []


def test_a_film_is_redubbed_when_run_is_pressed(redub_page, redub_base):
    redub_page.template("redub_musetalk")
    redub_page.tab.evaluate(HEAR, "brief.wav")
    assert redub_page.run() == "success", redub_page.seen("execution_error")
    saving = [str(node) for node in redub_page.nodes("SaveTalkingVideo")]
    told = [one for one in redub_page.seen("executed") if one["node"] in saving]
    file = only(told[-1]["output"]["images"])["filename"]
    check_seen(redub_page, file)
    assert redub_page.errors == []
    (saved,) = (redub_base / "output").rglob(file)
    made, given = (next(Film(path).frames(at_once=8)) for path in (saved, FOLDER / "clip.mp4"))
    off = (made - given).abs().amax(-1).mean(0)
    height = len(off)
    assert off[: height // 4].mean() < 0.02, "above the face the film is as it was"
    assert off[height // 2 : 3 * height // 4].mean() > 0.05, "of random weights the mouth is noise"
