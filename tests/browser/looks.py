"""How people see ComfyUI: which version of its page, which kind of nodes, in which language."""

from __future__ import annotations

from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class View:
    newest: bool  # or the page that the environment pins
    nodes2: bool
    language: str
    seed: int  # ComfyUI does not run again what it ran for another view

    def __str__(self) -> str:
        return f"{'newest' if self.newest else 'pinned'}-{'nodes2' if self.nodes2 else 'classic'}-{self.language}"


# The pinned page shows no pack's Chinese, whatever the pack.
PINNED, PINNED_NODES2 = View(False, False, "en", 1), View(False, True, "en", 2)
NEWEST, CHINESE = View(True, False, "en", 3), View(True, True, "zh", 4)


def views(*chosen):
    return pytest.mark.parametrize("view", chosen, indirect=True, ids=str)


def only(found: list):
    (one,) = found
    return one


SCREENS = ((1366, 768), (1600, 1000))

# Where the video is on the screen. Pages add it first, as wide as they are, and then place it on its node.
LOOK = """name => {
  const video = [...document.querySelectorAll('video')].find(v => v.checkVisibility() && v.currentSrc.includes(name))
  if (!video) return null
  const {left, top, right, bottom} = video.getBoundingClientRect()
  const {scale, offset} = app.canvas.ds, screen = [innerWidth, innerHeight]
  const free = document.elementFromPoint(right - 20, bottom - 10) === video // where the page's map would lie
  return {left, top, right, bottom, free, playable: video.readyState >= 2, screen, scale, offset: [...offset]}
}"""
SEEN = f"""name => {{
  const seen = ({LOOK})(name), {{left, top, right, bottom, free, playable, screen}} = seen ?? {{}}
  return playable && free && left >= 0 && top >= 0 && right <= screen[0] && bottom <= screen[1] && right - left > 120
}}"""


def size_of(screen: tuple[int, int]) -> dict[str, int]:
    """As the browser wants it told."""
    return dict(zip(("width", "height"), screen, strict=True))


def check_seen(page, file: str) -> None:
    """The whole video is on the screen, nothing upon its controls, wide enough to be watched."""
    from playwright.sync_api import TimeoutError as Never

    try:
        page.tab.wait_for_function(SEEN, arg=file, timeout=30_000)
    except Never:
        pytest.fail(f"The video is not seen as it should be: {page.tab.evaluate(LOOK, file)}")
