"""ComfyUI's page in a headless browser: drop a workflow on it, run it, and check what it shows.

    settings(base, language="zh", nodes2=True)
    with Server(base) as server, Browser() as browser, browser.open(server.url) as page:
        page.drop(WORKFLOW)
        assert page.run() == "success"
        page.picture(Path("page.png"))

Needs playwright, of the `test` extra, and a Chromium or Chrome of this machine. `tab` is playwright's own page.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .server import PACK, cache, unpack

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Route
    from playwright.sync_api import Page as Tab

CHOSEN = "JOYHALLO_BROWSER"
KNOWN = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--enable-unsafe-swiftshader", "--autoplay-policy=no-user-gesture-required"),
]
SIZE = (1600, 1000)
PATIENCE = 120_000  # milliseconds until the page must be there
LOCAL = ("127.0.0.1", "localhost")

# Newer than the one that the environment pins; any page goes with any server.
NEWEST = "1.58.1"
NEWEST_SHA256 = "37912597537a731a8f421179618a736c24184c5bdbfa327f38b2fb7c291852d9"
INSIDE = "comfyui_frontend_package/static"


class NoBrowser(RuntimeError):
    """No browser is available; the message says what to install."""


def find_browser() -> str:
    chosen = os.environ.get(CHOSEN)
    found = shutil.which(chosen) if chosen else next(filter(None, map(shutil.which, KNOWN)), None)
    if found is None:
        looked = f"${CHOSEN} is {chosen}, which is not a program" if chosen else f"none of {', '.join(KNOWN)} was found"
        raise NoBrowser(f"No browser: {looked}. Install Chromium, or set {CHOSEN} to the path of one.")
    return found


def newest_frontend() -> Path:
    """The folder for ComfyUI's --front-end-root; fetched if it is not among the cached files yet."""
    place = cache() / f"frontend-{NEWEST}"
    if not (place / "index.html").exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
            only_this = ("--no-deps", "--only-binary", ":all:", "--quiet", "--dest", scratch)
            wanted = f"comfyui-frontend-package=={NEWEST}"
            subprocess.run([sys.executable, "-m", "pip", "download", *only_this, wanted], check=True)
            (wheel,) = Path(scratch).glob("*.whl")
            unpack(wheel, place, NEWEST_SHA256, INSIDE, "index.html")
    return place


def settings(base: Path, language: str = "en", nodes2: bool = False, **more: Any) -> None:
    """Write the page's settings, which it reads when it is opened; they may be changed while the server runs."""
    file = base / "user" / "default" / "comfy.settings.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    chosen = {
        "Comfy.TutorialCompleted": True,
        "Comfy.Locale": language,
        "Comfy.VueNodes.Enabled": nodes2,
        "Comfy.Notification.ShowVersionUpdates": False,
        **more,
    }
    file.write_text(json.dumps(chosen), encoding="utf-8")


class Browser:
    """Chromium; use it with `with`."""

    def __enter__(self) -> Browser:
        from playwright.sync_api import sync_playwright

        program = find_browser()
        self.playwright = sync_playwright().start()
        try:
            self.chromium = self.playwright.chromium.launch(executable_path=program, headless=True, args=FLAGS)
        except BaseException:
            self.playwright.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.chromium.close()
        self.playwright.stop()

    @contextmanager
    def open(self, url: str, size: tuple[int, int] = SIZE) -> Iterator[Page]:
        """ComfyUI's page, ready for use, as a new user sees it."""
        # Where things move all the time, drawing them without a card takes a third of a core.
        context = self.chromium.new_context(viewport={"width": size[0], "height": size[1]}, reduced_motion="reduce")
        try:
            context.add_init_script(DRAWING)
            page = Page(context.new_page())
            page.open(url)
            yield page
        finally:
            context.close()


# ComfyUI draws all the time, sixty times a second, which takes a fifth of a core even where nothing happens: ten are
# enough, but for when a graph is opened, as the page then lays it out and our view of it comes after that.
DRAWING = """{
  const [soon, never] = [requestAnimationFrame, cancelAnimationFrame].map(known => known.bind(window))
  window.joyhalloSeldom = false
  window.requestAnimationFrame = draw => joyhalloSeldom ? -setTimeout(() => draw(performance.now()), 100) : soon(draw)
  window.cancelAnimationFrame = number => number < 0 ? clearTimeout(-number) : never(number)
}"""

RECORD = """() => {
  window.joyhalloSeen = []
  const kinds = ['execution_success', 'execution_error', 'execution_interrupted', 'executed', 'progress_text']
  for (const kind of kinds) app.api.addEventListener(kind, event => joyhalloSeen.push([kind, event.detail]))
}"""

DROP = """({name, text}) => {
  const data = new DataTransfer()
  data.items.add(new File([text], name, {type: 'application/json'}))
  const target = document.querySelector('#graph-canvas') ?? document.body
  const box = target.getBoundingClientRect()
  const at = {bubbles: true, cancelable: true, dataTransfer: data,
              clientX: box.x + box.width / 2, clientY: box.y + box.height / 2}
  for (const kind of ['dragenter', 'dragover', 'drop']) target.dispatchEvent(new DragEvent(kind, at))
}"""

ROOT = "(app.rootGraph ?? app.graph)"
ENDED = "id => joyhalloSeen.find(([kind, data]) => kind.startsWith('execution_') && data.prompt_id === id)?.[0]"

SELDOM = 200  # milliseconds; asked at each frame, a page would draw sixty of them a second during the whole run

# Where a node stands on the screen; its title lies above its position.
PLACE = """id => {
  const {canvas} = app, node = canvas.graph.getNodeById(id), {scale, offset} = canvas.ds
  const screen = canvas.canvas.getBoundingClientRect(), title = LiteGraph.NODE_TITLE_HEIGHT
  return {x: screen.x + (node.pos[0] + offset[0]) * scale, y: screen.y + (node.pos[1] - title + offset[1]) * scale,
          width: node.size[0] * scale, height: (node.size[1] + title) * scale}
}"""

# When a template is opened its view is set once its nodes rest, in the page's own time: see web/examples.js. That is
# over when neither the view nor any node has moved for a second.
PLACED = """() => new Promise(done => {
  const {ds, graph} = app.canvas
  const places = () => JSON.stringify([ds.scale, ...ds.offset, ...graph._nodes.map(({pos, size}) => [...pos, ...size])])
  let before = '', since = performance.now()
  const look = () => {
    const now = places()
    if (now !== before) [before, since] = [now, performance.now()]
    performance.now() - since < 1000 ? requestAnimationFrame(look) : done()
  }
  look()
})"""

LOOK = """({id, scale}) => {
  const {canvas} = app, node = canvas.graph.getNodeById(id)
  canvas.ds.scale = scale
  canvas.centerOnNode(node)
  canvas.ds.scale = scale
  canvas.setDirty(true, true)
}"""


class Page:
    def __init__(self, tab: Tab):
        self.tab = tab
        self.errors: list[str] = []  # exceptions that the page did not catch
        self.outside: list[str] = []  # requests to other machines, all of them refused
        self.prompt_id = ""
        tab.on("pageerror", lambda error: self.errors.append(str(error)))
        tab.context.route("**/*", self._guard)

    def _guard(self, route: Route) -> None:
        address = urllib.parse.urlsplit(route.request.url)
        if address.hostname in LOCAL or address.scheme in ("data", "blob"):
            route.continue_()
        else:
            self.outside.append(route.request.url)
            route.abort()

    def open(self, url: str) -> None:
        self.tab.goto(url, wait_until="domcontentloaded", timeout=PATIENCE)
        ready = "() => window.app?.graph && app.extensionManager && !document.querySelector('#splash-loader')"
        self.tab.wait_for_function(ready, timeout=PATIENCE)
        self.tab.wait_for_function("() => app.canvas?.ds && app.vueAppReady !== false")
        self.tab.evaluate(RECORD)
        self._draw_seldom(True)

    # ---- user actions

    def drop(self, workflow: Path | Mapping[str, Any]) -> None:
        """Drop a workflow file on the canvas."""
        if isinstance(workflow, Path):
            name, text = workflow.name, workflow.read_text(encoding="utf-8")
        else:
            name, text = "workflow.json", json.dumps(workflow)
        with self._replaced():
            self.tab.evaluate(DROP, {"name": name, "text": text})

    def template(self, name: str) -> None:
        """Open one of the pack's templates from their list."""
        with self._replaced():
            self.command("Comfy.BrowseTemplates")
            self.dialog().get_by_text(PACK).first.click()
            self.dialog().get_by_text(name, exact=True).first.click()

    @contextmanager
    def _replaced(self) -> Iterator[None]:
        """Wait until another graph is there, even if it is like the one before."""
        self._draw_seldom(False)
        self.tab.evaluate(f"() => {{ {ROOT}.extra.before = true }}")
        yield
        self.tab.wait_for_function(f"() => !{ROOT}.extra?.before && {ROOT}.nodes.length", timeout=60_000)
        self.tab.evaluate(PLACED)
        self._draw_seldom(True)

    def _draw_seldom(self, seldom: bool) -> None:
        self.tab.evaluate("seldom => { joyhalloSeldom = seldom }", seldom)

    def command(self, name: str) -> None:
        self.tab.evaluate("name => app.extensionManager.command.execute(name)", name)

    def run(self, seconds: float = 300) -> str:
        """Queue what is on the canvas; success, error or interrupted at its end, invalid if it never began."""
        self.queue()
        return self.wait(seconds) if self.prompt_id else "invalid"

    def queue(self) -> None:
        with self.tab.expect_response(lambda response: response.url.endswith("/prompt")) as answer:
            self.command("Comfy.QueuePrompt")
        self.prompt_id = answer.value.json().get("prompt_id", "") if answer.value.ok else ""

    def wait(self, seconds: float = 300) -> str:
        """Wait for the end of the last queued run."""
        found = self.tab.wait_for_function(ENDED, arg=self.prompt_id, timeout=seconds * 1000, polling=SELDOM)
        return found.json_value().removeprefix("execution_")

    def look_at(self, node: int, scale: float = 1.0) -> None:
        """Bring it to the middle; at a scale of 1 a button of a node is as large as one of the page."""
        self.tab.evaluate(LOOK, {"id": node, "scale": scale})
        self.settle()

    def settle(self) -> None:
        """Wait until changes are drawn."""
        self.tab.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    # ---- what the page shows

    def nodes(self, kind: str) -> list[int]:
        """Numbers of the nodes of a class, in the graph that is open."""
        return self.tab.evaluate("kind => app.canvas.graph.nodes.filter(n => n.type === kind).map(n => n.id)", kind)

    def missing(self) -> list[str]:
        """Classes on the canvas that the server does not have."""
        known = "Object.hasOwn(LiteGraph.registered_node_types, node.type)"
        return self.tab.evaluate(f"() => {ROOT}.nodes.filter(node => !({known})).map(node => node.type)")

    def widget(self, node: int, name: str) -> Any:
        return self.tab.evaluate(
            "([id, name]) => app.canvas.graph.getNodeById(id).widgets.find(w => w.name === name)?.value", [node, name]
        )

    def seen(self, kind: str) -> list[dict[str, Any]]:
        """The server's events since the page was opened: executed, execution_error, progress_text and the like."""
        return self.tab.evaluate("kind => joyhalloSeen.filter(([k]) => k === kind).map(([, data]) => data)", kind)

    def dialog(self) -> Locator:
        """The topmost dialog, such as that of an error."""
        return self.tab.locator("[role=dialog]:visible").last

    def picture(self, file: Path) -> None:
        self.settle()
        self.tab.screenshot(path=file)

    def picture_of(self, node: int, file: Path, margin: float = 12) -> None:
        """Save a picture of a node with a margin; bring it to the middle first."""
        self.settle()
        place, screen = self.tab.evaluate(PLACE, node), self.tab.viewport_size
        assert screen is not None
        left, top = max(0, place["x"] - margin), max(0, place["y"] - margin)
        right = min(screen["width"], place["x"] + place["width"] + margin)
        bottom = min(screen["height"], place["y"] + place["height"] + margin)
        if right <= left or bottom <= top:
            raise ValueError(f"Node {node} is not on the screen; look at it first.")
        self.tab.screenshot(path=file, clip={"x": left, "y": top, "width": right - left, "height": bottom - top})
