"""Choices are read in the reader's language; what a workflow holds is the same in all of them."""

from __future__ import annotations

from canvases import demo
from looks import CHINESE, only, views


@views(CHINESE)
def test_choices_are_read_in_chinese_and_kept_in_english(page, view):
    page.drop(demo())
    node = only(page.nodes("JoyHalloSampler"))
    page.look_at(node, 0.8)
    sampler = page.tab.locator(f"[data-node-id='{node}']")
    sampler.get_by_text("精确", exact=True).click()
    page.tab.get_by_text("快速", exact=True).click()
    sampler.get_by_text("快速", exact=True).wait_for()
    assert page.widget(node, "preset") == "fast"
    sampler.get_by_text("从头开始", exact=True).click()
    assert page.widget(node, "resume") is False


@views(CHINESE)
def test_words_among_names_of_files_are_read_in_chinese_too(page, view):
    page.drop(demo())
    node = only(page.nodes("LoadJoyHalloModels"))
    page.look_at(node, 0.8)
    loader = page.tab.locator(f"[data-node-id='{node}']")
    choices = loader.get_by_text("演示（demo）", exact=True)
    choices.nth(3).wait_for()
    assert choices.count() == 4
    assert page.widget(node, "checkpoint") == "demo"
