"""Pictures for the pages of help and the READMEs: the nodes as ComfyUI's page shows them, in English and in Chinese.

    PYTHONPATH=tests/helpers python -m tools.pictures.help_pages    # writes web/docs/<node>/<language>.webp and more

Needs a browser, and of the tests the small models under published names. The newest page is taken, since the pinned one
shows no Chinese of ours.
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

from PIL import Image

from joyhallo.methods.hallo.motion import weights
from joyhallo.methods.hallo.timeline import timeline
from joyhallo.sound.audio import levels, prepare, read, video_frames
from joyhallo.sound.pauses import gate, pauses

from ..comfyui.browser import Browser, Page, newest_frontend, settings
from ..comfyui.server import ROOT, Server
from ..demo import prepare as prepare_folders
from ..demo_model.bundle import FOLDER
from ..words import LOCALES
from ..words import read as words

DOCS = ROOT / "web" / "docs"
README = ROOT / "docs"  # what the READMEs show
SCREEN = (1600, 1500)
SCALE = 1.25
LOWEST = 220  # pixels of a picture; nodes with few inputs are shown larger
MARGIN = 12  # pixels around a node, at any size
GRAPH = (1400, 900)
SETTLED = 2000  # milliseconds, until notices of the page are gone
PLAIN = {"Comfy.NodeBadge.NodeSourceBadgeMode": "None"}
SHOWN = {"LoadJoyHalloModels": {"checkpoint": "joyhallo/net.pth"}, "JoyHalloTurns": {"turns": "1: 0-3.2, 2: 3.2-"}}
MOTION = {"pose": "0: 1, 2: 0.4", "lip": "0: 1, 1.4: 1 -> 0.6"}

ALONE = """([kind, values]) => {
  app.graph.clear()
  const node = LiteGraph.createNode(kind)
  app.graph.add(node)
  node.setSize([340, node.size[1]])
  for (const [name, value] of Object.entries(values)) node.widgets.find(widget => widget.name === name).value = value
  return node.id
}"""

# Two people, one of whom is chosen
COUPLE = """expand => {
  app.graph.clear()
  const add = (kind, ...at) => {
    const node = LiteGraph.createNode(kind)
    node.pos = at
    app.graph.add(node)
    return node
  }
  const set = (node, name, value) => { node.widgets.find(widget => widget.name === name).value = value }
  const [models, picture] = [add('LoadJoyHalloModels', -3000, 0), add('LoadImage', -3000, 1000)]
  const [face, shown] = [add('FaceMaskPrep', 0, 0), add('PreviewImage', 3000, 0)]
  set(picture, 'image', 'couple.png')
  set(face, 'which_face', '1')
  set(face, 'face_expand', expand)
  face.setSize([340, face.size[1]])
  picture.connect(0, face, 'image')
  models.connect(2, face, 'face_analysis')
  face.connect(5, shown, 'images')
  return face.id
}"""

PLAYABLE = (
    "() => [...document.querySelectorAll('video')].some(video => video.checkVisibility() && video.readyState > 1)"
)

LOADED = """before => [...document.querySelectorAll('.joyhallo-picture')].some(
  picture => picture.complete && picture.getAttribute('src') !== before
)"""


def main() -> None:
    from stock import stock  # pyright: ignore[reportMissingImports]

    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        prepare_folders(base)
        stock(base)
        for language in sorted(place.name for place in LOCALES.iterdir()):
            settings(base, language, False, **PLAIN)
            with _server(base) as server, Browser() as browser, browser.open(server.url, SCREEN) as page:
                for node in words(language):
                    _save(_picture(page, node), DOCS / node / f"{language}.webp")
                _save_moving(_choosing(page), README / f"choose.{language}.webp")
                _save(graph(page), README / f"graph.{language}.webp")
    _save(_plot(), DOCS / "JoyHalloMotion" / "plot.webp")


def _server(base: Path) -> Server:
    """A new server each time: results from its cache would not be sent to the page again."""
    return Server(base, flags=("--cpu", "--front-end-root", str(newest_frontend())))


def _picture(page: Page, node: str) -> Image.Image:
    if node == "FaceMaskPrep":
        number = page.tab.evaluate(COUPLE, 1.2)
        assert page.run() == "success"
        page.tab.locator(".joyhallo-face").first.wait_for()
    else:
        number = page.tab.evaluate(ALONE, [node, SHOWN.get(node, {})])
    page.look_at(number, SCALE)
    picture = _shot(page, number)
    if picture.height >= LOWEST:
        return picture
    page.look_at(number, SCALE * (LOWEST - 2 * MARGIN) / (picture.height - 2 * MARGIN))
    return _shot(page, number)


def graph(page: Page) -> Image.Image:
    """The template demo, after it was run."""
    page.tab.set_viewport_size({"width": GRAPH[0], "height": GRAPH[1]})
    page.template("demo")
    page.command("Comfy.Canvas.ToggleMinimap")
    assert page.run() == "success"
    page.tab.wait_for_function(PLAYABLE, timeout=60_000)
    page.tab.wait_for_timeout(SETTLED)
    return Image.open(io.BytesIO(page.tab.screenshot())).convert("RGB")


def _choosing(page: Page) -> list[tuple[Image.Image, int]]:
    """A click on the other face, and a run; with how many milliseconds each is shown."""
    number = page.tab.evaluate(COUPLE, 1.25)  # of a node that ran before, ComfyUI would tell nothing
    assert page.run() == "success"
    page.look_at(number, SCALE)
    page.tab.locator(".joyhallo-face").first.wait_for()
    other = page.tab.locator(".joyhallo-face").first
    steps = [(lambda: None, 1500), (other.hover, 600), (other.click, 1600), (lambda: _run_again(page), 2400)]
    shots = []
    for step, shown in steps:
        step()
        shots.append((_shot(page, number), shown))
    return shots


def _run_again(page: Page) -> None:
    before = page.tab.locator(".joyhallo-picture").get_attribute("src")
    assert page.run() == "success"
    page.tab.wait_for_function(LOADED, arg=before)
    page.tab.mouse.move(0, 0)


def _shot(page: Page, number: int) -> Image.Image:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "node.png")
        page.picture_of(number, file, MARGIN)
        return Image.open(io.BytesIO(file.read_bytes())).convert("RGB")


def _plot() -> Image.Image:
    """The plot of the demo's sentence."""
    recording = prepare(*read(FOLDER / "speech.wav"))
    count = video_frames(len(recording.samples))
    loud = levels(recording.samples, count)
    resting = pauses(loud)
    return Image.fromarray(timeline(loud, resting, weights(count, **MOTION, opening=gate(resting))))


def _save(picture: Image.Image, file: Path) -> None:
    picture.save(file, quality=80, method=6)


def _save_moving(shots: list[tuple[Image.Image, int]], file: Path) -> None:
    file.parent.mkdir(exist_ok=True)
    (first, *others), times = zip(*shots, strict=True)
    first.save(file, save_all=True, append_images=others, duration=list(times), loop=0, quality=80, method=6)


if __name__ == "__main__":
    main()
