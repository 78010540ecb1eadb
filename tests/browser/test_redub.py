"""Whoever has a video, a recording and the files: opens a template, presses Run, and sees the video redubbed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from looks import only
from stock import stock
from test_newcomer import SCREENS, check_seen

from joyhallo.film.read import Film
from tools.comfyui.browser import Page, settings
from tools.comfyui.server import Server, install_pack
from tools.demo import speech_of
from tools.demo_model.bundle import FOLDER

BRIEF = 0.6  # seconds
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


@pytest.fixture(scope="module")
def own_base(tmp_path_factory) -> Path:
    base = tmp_path_factory.mktemp("redubbing")
    install_pack(base)
    (base / "input").mkdir()
    stock(base)
    speech_of(BRIEF, FOLDER / "speech.wav", base / "input" / "brief.wav")
    settings(base)
    return base


@pytest.fixture(scope="module")
def own_page(browser, own_base) -> Iterator[Page]:
    with Server(own_base) as server, browser.open(server.url) as page:
        page.tab.set_viewport_size(dict(zip(("width", "height"), SCREENS[0], strict=True)))
        yield page


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_asks_for_nothing_that_is_there(own_page, name):
    own_page.template(name)
    assert own_page.missing() == []
    own_page.tab.wait_for_timeout(500)  # the panels ask the server
    assert own_page.tab.locator(".joyhallo-rows:visible").count() == 0
    assert own_page.errors == []


def test_a_film_is_redubbed_when_run_is_pressed(own_page, own_base):
    own_page.template("redub_musetalk")
    own_page.tab.evaluate(HEAR, "brief.wav")
    assert own_page.run() == "success", own_page.seen("execution_error")
    saving = [str(node) for node in own_page.nodes("SaveTalkingVideo")]
    told = [one for one in own_page.seen("executed") if one["node"] in saving]
    file = only(told[-1]["output"]["images"])["filename"]
    check_seen(own_page, file)
    assert own_page.errors == []
    (saved,) = (own_base / "output").rglob(file)
    made, given = (next(Film(path).frames(at_once=8)) for path in (saved, FOLDER / "clip.mp4"))
    off = (made - given).abs().amax(-1).mean(0)
    height = len(off)
    assert off[: height // 4].mean() < 0.02, "above the face the film is as it was"
    assert off[height // 2 : 3 * height // 4].mean() > 0.05, "of random weights the mouth is noise"
