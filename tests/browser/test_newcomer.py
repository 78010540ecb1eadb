"""A newcomer: nothing in `input`, no weights, no reading. Opens a template, presses Run, and sees someone speak."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from looks import CHINESE, NEWEST, PINNED, PINNED_NODES2, SCREENS, check_seen, only, size_of, views

from joyhallo.evaluation.drawn.mouths import Album, Gauge
from joyhallo.evaluation.drawn.talks import FAINTEST
from joyhallo.film.read import Film
from joyhallo.measures.curves import correlation
from joyhallo.sound.audio import levels, prepare, read
from tools.comfyui.browser import SIZE
from tools.demo_model.bundle import FOLDER
from tools.pictures.portrait import COUPLE, sitter

# Every template, and every view. Those that are only opened run to their end in test_example_workflows.py.
RUN = {
    "puppet": NEWEST,
    "animatic": PINNED,
    "demo": CHINESE,
    "quick_start": PINNED_NODES2,
}
OPENED = {
    "hallo": PINNED_NODES2,
    "edit_masks": NEWEST,
    "long_video": CHINESE,
    "paste_back": PINNED_NODES2,
    "two_speakers": PINNED,
    "upscale_and_background": NEWEST,
}
PUPPETS = ("puppet", "animatic")
AT_ONCE = ("demo", *PUPPETS)  # run as they are opened
SMALL = {"en": "Try it with the small model", "zh": "先用小模型试试"}
LISTED = """() => app.graph.nodes.filter(({type}) => ['LoadImage', 'LoadAudio'].includes(type))
  .map(({widgets: [{value, options}]}) => options.values.includes(value))"""


@pytest.fixture
def screen(page, view) -> Iterator[None]:
    page.tab.set_viewport_size(size_of(SCREENS[view.seed % 2]))
    yield
    page.tab.set_viewport_size(size_of(SIZE))


@pytest.mark.parametrize(("name", "view"), OPENED.items(), indirect=["view"], ids=str)
def test_a_template_has_all_it_needs_after_one_click(page, view, name):
    page.template(name)
    assert page.missing() == []
    small = page.tab.get_by_role("button", name=SMALL[view.language]).locator("visible=true")
    small.click()
    small.wait_for(state="hidden")
    assert page.errors == []


@pytest.mark.parametrize(("name", "view"), RUN.items(), indirect=["view"], ids=str)
def test_a_template_speaks_when_run_is_pressed(page, view, name, base, screen):
    page.template(name)
    assert page.missing() == []
    if name not in AT_ONCE:
        page.tab.get_by_role("button", name=SMALL[view.language]).locator("visible=true").click()
    assert page.run() == "success", page.seen("execution_error")
    saving = [str(node) for node in page.nodes("SaveTalkingVideo")]
    told = [one for one in page.seen("executed") if one["prompt_id"] == page.prompt_id and one["node"] in saving]
    file = only(only(told)["output"]["images"])["filename"]
    check_seen(page, file)
    assert page.errors == []
    (saved,) = (base / "output").rglob(file)
    check_speaks(saved, Album if name in PUPPETS else Gauge)


@views(PINNED, NEWEST)
def test_the_first_template_names_files_that_its_nodes_list(page, view, browser, base, start):
    """Nodes 2.0 of the pinned page show "Select image..." for what is not listed, on a page that was opened before."""
    for file in (base / "input").glob("joyhallo_*"):
        file.unlink()
    with browser.open(start(view.newest).url) as fresh:
        fresh.template("puppet")
        assert fresh.tab.evaluate(LISTED) == [True, True]


@views(NEWEST)
def test_a_template_is_an_app_of_two_fields_where_the_page_has_apps(page, view):
    """One click away: a template opens as a graph, since an app hides the buttons that fetch missing files."""
    page.template("puppet")
    page.tab.wait_for_timeout(1000)  # opened as graphs are
    page.command("Comfy.ToggleLinear")
    page.tab.get_by_role("button", name="Skip", exact=True).click()  # the page's tour
    fields = [page.tab.get_by_role("button", name=f"joyhallo_{name}") for name in ("portrait.png", "speech.wav")]
    for field in fields:
        field.wait_for()
    with page.tab.expect_response(lambda response: response.url.endswith("/prompt")) as answer:
        page.tab.get_by_test_id("linear-run-button").get_by_role("button", name="Run").click()
    page.prompt_id = answer.value.json()["prompt_id"]
    assert page.wait() == "success"
    check_seen(page, "JoyHallo_")
    page.command("Comfy.ToggleLinear")
    assert page.errors == []


def check_speaks(saved: Path, ruler: type[Gauge] | type[Album]) -> None:
    """Mouths open with the sound that was given, and not with a later or an earlier part of it.

    ruler: by colour for what knows only the red inside of drawn mouths; puppets have teeth and a tongue
    """
    frames = np.concatenate([(batch * 255).round().byte().numpy() for batch in Film(saved).frames()])
    heard = levels(prepare(*read(FOLDER / "speech.wav")).samples, len(frames)).clamp(min=FAINTEST).numpy()
    size = frames.shape[1]
    people = np.split(frames, frames.shape[2] // size, axis=2)
    mouths = [ruler.of(sitter(look, size)).opening(one) for look, one in zip(COUPLE, people, strict=False)]
    opening = np.max(mouths, axis=0)  # whoever speaks
    assert np.ptp(opening) > 0.3
    follows, *others = (correlation(np.roll(opening, by), heard) for by in (0, -6, 6))
    assert follows > 0.5
    assert max(others) < follows - 0.4
