"""The panel on Puppet Portrait: a button that fetches the file that finds faces, only where nothing else tells."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hub import Hub
from looks import only
from PIL import Image

from joyhallo.methods.hallo.published import PUBLISHED
from tools.comfyui.browser import Page
from tools.demo_model.bundle import FOLDER

(FILE,) = PUBLISHED["face_analysis/models/face_landmarker_v2_with_blendshapes.task"]
NAME = f"{FILE.repository}/{FILE.path}"
TITLE, FETCH = "To find this picture's face, a file is missing", "Fetch it"
CHOOSE = """([id, file]) => {
  const node = app.graph.getNodeById(id), widget = node.widgets.find(({name}) => name === 'image')
  widget.value = file
  widget.callback?.(file, app.canvas, node)
}"""
CONNECT = """([id, name, kind]) => {
  const node = app.graph.getNodeById(id), source = LiteGraph.createNode(kind)
  app.graph.add(source)
  source.connect(0, node, name)
}"""
SEARCHING = """([kind, source]) => {
  const node = LiteGraph.createNode(kind), video = LiteGraph.createNode(source)
  app.graph.add(node)
  app.graph.add(video)
  video.connect(0, node, 'video')
  return [node.id, video.id]
}"""
REMOVE = "(ids) => ids.forEach((id) => app.graph.remove(app.graph.getNodeById(id)))"
DISCONNECT = "([id, name]) => app.graph.getNodeById(id).disconnectInput(name)"


@pytest.fixture(scope="module")
def template(bare_base, bare_page) -> Page:
    picture = np.array(Image.open(FOLDER / "portrait.png").convert("RGB"))
    Image.fromarray(picture[::-1]).save(bare_base / "input" / "mine.png")
    bare_page.template("puppet")
    return bare_page


@pytest.fixture
def panel(template):
    return template.tab.locator(".joyhallo-rows:visible")


@pytest.fixture
def puppet(template) -> int:
    return only(template.nodes("PuppetPortrait"))


def choose(page: Page, file: str) -> None:
    page.tab.evaluate(CHOOSE, [only(page.nodes("LoadImage")), file])


@contextmanager
def late_answers(page: Page, hub: Hub) -> Iterator[None]:
    """The server's answers are of before a download is refused, and come a second after that."""

    def late(route):
        answer = route.fetch()
        hub.may_refuse.set()
        time.sleep(1)
        route.fulfill(response=answer)

    hub.may_refuse.clear()
    page.tab.route("**/joyhallo/models?*", late)
    yield
    page.tab.unroute("**/joyhallo/models?*")


def settled(page: Page) -> None:
    """The panel asks a tenth of a second after a change, and the server answers at once."""
    page.tab.wait_for_timeout(1000)


def test_our_picture_needs_no_file(template, panel):
    settled(template)
    assert panel.count() == 0


def test_another_picture_does_and_nobody_is_asked_before_the_button_is_pressed(template, panel, hub, bare_base):
    choose(template, "mine.png")
    panel.get_by_text(TITLE).wait_for()
    told = panel.inner_text()
    assert "face_landmarker_v2_with_blendshapes.task" in told
    assert "3.8 MB" in told
    assert str(bare_base / "models" / "joyhallo") in told
    assert hub.requests == []
    choose(template, "joyhallo_portrait.png")
    panel.wait_for(state="detached")


def test_what_is_connected_tells_where_the_face_is(template, panel, puppet):
    choose(template, "mine.png")
    panel.wait_for()
    for name, kind in (("face", "FaceMaskPrep"), ("face_mask", "SolidMask")):
        template.tab.evaluate(CONNECT, [puppet, name, kind])
        settled(template)
        assert panel.count() == (name == "face_mask"), "one mask alone only chooses among faces"
        if name == "face":
            template.tab.evaluate(DISCONNECT, [puppet, name])
            panel.wait_for()
    template.tab.evaluate(CONNECT, [puppet, "lip_mask", "SolidMask"])
    panel.wait_for(state="detached")
    for name in ("face_mask", "lip_mask"):
        template.tab.evaluate(DISCONNECT, [puppet, name])
    panel.wait_for()


def test_a_picture_that_only_bears_our_name_brings_the_panel_with_its_error(template, panel, bare_base):
    file = bare_base / "input" / "joyhallo_portrait.png"
    before = file.read_bytes()
    choose(template, "joyhallo_portrait.png")
    panel.wait_for(state="detached")
    file.write_bytes((bare_base / "input" / "mine.png").read_bytes())
    assert template.run() == "error"
    (told,) = (one["exception_message"] for one in template.seen("execution_error"))
    assert "landmarker is missing" in told
    template.tab.keyboard.press("Escape")
    panel.wait_for()
    file.write_bytes(before)


@pytest.mark.parametrize("kind", ["TrackFace", "RedubLips", "CutFaces", "ScoreLipSync", "CompareVideos"])
def test_a_node_that_searches_in_a_video_asks_for_the_same_file(template, panel, kind):
    of_videos = panel.filter(has_text="To find the video's faces, a file is missing")
    settled(template)
    assert of_videos.count() == 0
    nodes = template.tab.evaluate(SEARCHING, [kind, "LoadVideo"])
    template.look_at(nodes[0])
    of_videos.wait_for()
    template.tab.evaluate(REMOVE, nodes)
    of_videos.wait_for(state="detached")


def test_it_is_fetched_and_the_panel_goes(template, panel, hub, bare_base):
    choose(template, "mine.png")
    panel.wait_for()
    template.look_at(only(template.nodes("PuppetPortrait")))
    hub.refused[NAME] = 403
    settled(template)
    with late_answers(template, hub):
        panel.get_by_role("button", name=FETCH).click()
        panel.get_by_text("denies access").wait_for()
        template.tab.wait_for_timeout(2500)
        assert panel.get_by_text("denies access").is_visible(), "what happened is newer than a late answer"
    hub.refused.clear()
    hub.cuts += [1] * 60  # a connection that breaks off again and again, a second apart
    panel.get_by_role("button", name="Try again").click()
    panel.get_by_role("button", name="Cancel").click()
    panel.get_by_text("Cancelled").wait_for()
    hub.cuts.clear()
    panel.get_by_role("button", name="Try again").click()
    panel.wait_for(state="detached")
    folder = bare_base / "models" / "joyhallo"
    assert [path.read_bytes() for path in folder.rglob("*.task")] == [NAME.encode()]
    assert [path.name for path in folder.rglob("*") if path.is_file() and ".cache" not in path.parts] == [
        Path(FILE.path).name
    ]
    assert template.errors == []
