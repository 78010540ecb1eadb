"""What someone sees and does who never opens a terminal."""

from __future__ import annotations

import json
import re

import pytest
from canvases import couple, demo
from looks import CHINESE, NEWEST, PINNED, only, views

from tools.comfyui.server import ROOT

VIDEO = """name => {
  const seen = video => video.checkVisibility() && video.currentSrc.includes(name)
  const video = [...document.querySelectorAll('video')].find(seen)
  if (!video || video.readyState < 2) return null
  const {videoWidth: width, videoHeight: height} = video
  const canvas = Object.assign(document.createElement('canvas'), {width, height})
  const pen = canvas.getContext('2d')
  pen.drawImage(video, 0, 0)
  const values = pen.getImageData(0, 0, width, height).data.filter((_, i) => i % 4 !== 3)
  const [darkest, brightest] = [Math.min(...values), Math.max(...values)]
  return brightest - darkest > 50 && [width, height, video.currentTime]
}"""
# By language: which lines a person could read during the run. Newer pages take them away when it ends.
WATCH = """pace => {
  const known = Object.entries(pace).flatMap(([name, lines]) => lines.map(line => [name, new RegExp(line)]))
  window.joyhalloRead = new Set()
  const read = text => {
    const found = text.parentElement?.checkVisibility() && known.find(([, line]) => line.test(text.data))
    if (found) joyhalloRead.add(found[0])
  }
  const look = changes => {
    for (const {target, addedNodes} of changes) for (const node of [target, ...addedNodes]) {
      const texts = document.createTreeWalker(node, NodeFilter.SHOW_TEXT)
      for (let text = node.data ? node : texts.nextNode(); text; text = texts.nextNode()) read(text)
    }
  }
  // What is written and written over before anything is drawn was not read by anybody.
  const watched = {subtree: true, childList: true, characterData: true}
  window.joyhalloWatch = new MutationObserver(changes => setTimeout(look, 0, changes))
  joyhalloWatch.observe(document.body, watched)
}"""
READ = "() => { joyhalloWatch.disconnect(); return [...joyhalloRead] }"
IN_WORDS = """async texts => {
  const {inWords} = await import('/extensions/ComfyUI-JoyHallo/progress.js')
  return texts.map(inWords)
}"""

PACE = {
    "en": ("^[0-9]+ frames in .*[.]$", "^About .* (s|min) left[.]$", "^Made in .*, .* s for a second of video[.]$"),
    "zh": ("^共 [0-9]+ 帧，分 .*。$", "^大约还要 .* (秒|分钟)。$", "^用时 .* (秒|分钟)，每秒视频要算 .* 秒。$"),
}
SAVED = "id => app.graph.serialize().nodes.find(node => node.id == id).widgets_values"


# ---- from a file to a video


@views(PINNED, CHINESE)  # test_newcomer.py has all four
def test_a_workflow_is_dropped_and_run_and_its_video_seen(page, view):
    page.drop(demo(JoyHalloSampler={0: view.seed}))
    assert page.missing() == []
    sampler = only(page.nodes("JoyHalloSampler"))
    page.look_at(sampler, 0.8)
    page.tab.evaluate(WATCH, PACE)
    page.queue()
    assert page.wait() == "success"
    assert page.tab.evaluate(READ) == [view.language]
    told = [told["text"] for told in page.seen("progress_text") if told["nodeId"] == str(sampler)]
    words, lines = page.tab.evaluate(IN_WORDS, told), PACE[view.language]
    assert {only([line for line in lines if re.fullmatch(line, text)]) for text in words} == set(lines)
    plot = page.tab.locator("button.joyhallo-plot img:visible")
    plot.wait_for()
    assert plot.evaluate("image => image.decode().then(() => image.naturalWidth)") == 768
    plot.click()
    below = page.tab.locator(".joyhallo-panel:has(button.joyhallo-plot) .joyhallo-line").first.text_content()
    assert bool(re.fullmatch("自上而下：颜色.*接缝", below)) == (view.language == "zh")
    saving = only(page.nodes("SaveTalkingVideo"))
    page.look_at(saving, 0.8)
    told = [
        told for told in page.seen("executed") if (told["prompt_id"], told["node"]) == (page.prompt_id, str(saving))
    ]
    file = only(told)["output"]["images"][0]["filename"]
    first_frame = page.tab.wait_for_function(VIDEO, arg=file, timeout=30_000)  # until it is not blank
    assert first_frame.json_value() == [64, 64, 0]
    assert page.errors == []


# ---- choosing a face


@views(PINNED, CHINESE)
def test_a_click_on_another_face_chooses_it(page, view):
    page.drop(couple(FaceMaskPrep={2: 1 + view.seed / 10}))  # face_expand
    node = only(page.nodes("FaceMaskPrep"))
    saved = page.tab.evaluate(SAVED, node)
    assert page.run() == "error"
    page.tab.keyboard.press("Escape")
    page.look_at(node, 0.8)
    faces = page.tab.locator("button.joyhallo-face:visible")
    faces.nth(1).wait_for()
    assert [face.get_attribute("aria-pressed") for face in faces.all()] == ["false", "false"]
    faces.nth(1).click()
    assert page.widget(node, "which_face") == "1"
    assert [face.get_attribute("aria-pressed") for face in faces.all()] == ["false", "true"]
    assert page.run() == "success"
    told = [event["output"]["joyhallo_faces"][0] for event in page.seen("executed") if event["node"] == str(node)]
    assert told[-1]["chosen"] == 1
    faces.nth(0).focus()
    page.tab.keyboard.press("Enter")
    assert page.widget(node, "which_face") == "0"
    for _ in range(5):  # two are ours; that nodes grew around their pictures may be more changes of the page
        page.command("Comfy.Undo")
        if page.widget(node, "which_face") == "auto":
            break
    assert page.tab.evaluate(SAVED, node) == saved
    faces.nth(1).wait_for()
    assert page.errors == []


# ---- what a new node is set to


@views(PINNED, NEWEST)
def test_a_new_sampler_keeps_its_seed_and_a_saved_one_its_choice(page, view):
    """Otherwise a video that was stopped would begin anew with another seed."""
    control = "node => node.widgets.find(({name}) => name === 'control_after_generate').value"
    created = page.tab.evaluate(f"() => ({control})(LiteGraph.createNode('JoyHalloSampler'))")
    page.drop(demo(JoyHalloSampler={1: "randomize"}))
    saved = page.tab.evaluate(f"id => ({control})(app.graph.getNodeById(id))", only(page.nodes("JoyHalloSampler")))
    assert (created, saved) == ("fixed", "randomize")


# ---- words


@views(PINNED, CHINESE)
def test_help_is_read_in_the_language_of_the_page(page, view):
    page.drop(demo())
    node = only(page.nodes("FaceMaskPrep"))
    page.look_at(node, 0.6)
    page.tab.evaluate("id => app.canvas.selectNode(app.canvas.graph.getNodeById(id))", node)
    page.tab.get_by_test_id("info-button").click()
    place = {"en": "FaceMaskPrep.md", "zh": "FaceMaskPrep/zh.md"}[view.language]
    text = (ROOT / "web" / "docs" / place).read_text(encoding="utf-8")
    page.tab.get_by_text(text.split("\n\n")[1].strip(), exact=True).wait_for()


@views(CHINESE)
def test_labels_are_chinese(page, view):
    names = json.loads((ROOT / "locales" / "zh" / "nodeDefs.json").read_text(encoding="utf-8"))["FaceMaskPrep"]
    page.drop(demo())
    node = only(page.nodes("FaceMaskPrep"))
    page.look_at(node, 0.8)
    words = page.tab.locator(f"[data-node-id='{node}']").inner_text()
    expected = [names["display_name"], *(put["name"] for put in names["inputs"].values())]
    assert [word for word in expected if word not in words or not re.search("[一-鿿]", word)] == []


# ---- mistakes

MODELS = demo(LoadJoyHalloModels={0: "elsewhere.safetensors"})
MISTAKES = {
    "models": (MODELS, "error", "checkpoint 'elsewhere.safetensors'.*choose models that you have, such as demo"),
    "faces": (couple(), "error", "2 faces were found.*choose one by its number"),
    "size": (demo(JoyHalloSampler={8: 100}), "invalid", "size 100 is not a multiple of 64; try 128"),
}


@views(PINNED)
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_its_remedy(page, view, mistake):
    workflow, status, words = MISTAKES[mistake]
    page.drop(workflow)
    assert page.run() == status
    assert re.search(words, page.dialog().inner_text(), re.DOTALL)
    page.tab.keyboard.press("Escape")


@views(NEWEST)
def test_newer_pages_tell_it_behind_a_button(page, view):
    page.drop(MODELS)
    assert page.run() == "error"
    page.tab.get_by_role("button", name="View details").last.click()
    page.tab.get_by_text(re.compile("such as demo")).first.wait_for()


@views(CHINESE)
def test_in_chinese_the_node_says_it_until_it_runs(page, view):
    told = page.tab.locator(".joyhallo-notice:visible", has_text="缺少所选的模型")
    page.drop(MODELS)
    assert page.run() == "error"
    told.wait_for()
    page.tab.keyboard.press("Escape")
    page.tab.evaluate("() => { app.graph.nodes.find(n => n.type === 'LoadJoyHalloModels').widgets[0].value = 'demo' }")
    page.queue()
    told.wait_for(state="detached")
    page.command("Comfy.Interrupt")
    page.wait()
