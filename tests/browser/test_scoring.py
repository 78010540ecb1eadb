"""Whoever wants to know which video is better: opens a template, presses Run, sees the table or the mended video."""

from __future__ import annotations

from looks import check_seen, only

# Of the classic page, which draws the table on the canvas: where it is on the screen.
TABLE = """id => {
  const node = app.graph.getNodeById(id), image = node.imgs?.[0]
  if (!image?.naturalWidth) return null
  const {scale, offset} = app.canvas.ds, screen = app.canvas.canvas.getBoundingClientRect()
  const [left, top] = [screen.x + (node.pos[0] + offset[0]) * scale, screen.y + (node.pos[1] + offset[1]) * scale]
  const map = document.querySelector('.litegraph-minimap')?.getBoundingClientRect()
  return {left, top, right: left + node.size[0] * scale, bottom: top + node.size[1] * scale, wide: image.naturalWidth,
          beside: !map || left + node.size[0] * scale <= map.left || top + node.size[1] * scale <= map.top}
}"""


def test_of_two_videos_the_table_is_seen(redub_page):
    redub_page.template("which_is_better")
    assert redub_page.run() == "success", redub_page.seen("execution_error")
    report = only(redub_page.nodes("EvaluationReport"))
    seen = redub_page.tab.wait_for_function(TABLE, arg=report, timeout=30_000).json_value()
    screen = redub_page.tab.viewport_size
    assert seen["wide"] >= 768
    assert seen["left"] >= 0
    assert seen["top"] >= 0
    assert seen["right"] <= screen["width"]
    assert seen["bottom"] <= screen["height"]
    assert seen["beside"], "the page's map lies on it"
    assert redub_page.errors == []


def test_a_late_sound_is_mended_and_the_video_is_seen(redub_page):
    redub_page.template("align_sound")
    assert redub_page.run() == "success", redub_page.seen("execution_error")
    saving = [str(node) for node in redub_page.nodes("SaveTalkingVideo")]
    told = [one for one in redub_page.seen("executed") if one["node"] in saving]
    check_seen(redub_page, only(told[-1]["output"]["images"])["filename"])
    assert redub_page.errors == []
