"""The panels on Load JoyHallo Models and Load Redub Model: what is missing, fetching it, stopping that, and the small
model instead."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from looks import only

from joyhallo.methods.hallo.published import PUBLISHED
from tools.comfyui.browser import Page

MODELS = ("joyhallo/net.pth", "chinese-wav2vec2-base", "face_analysis")
OURS = "LoadJoyHalloModels|FaceMaskPrep|JoyHalloSampler|LoadImage"
VALUES = f"""() => Object.fromEntries(
  app.graph.serialize().nodes.filter(node => /{OURS}/.test(node.type)).map(node => [node.id, node.widgets_values])
)"""


@pytest.fixture(scope="module")
def quick_start(bare_page) -> Page:
    bare_page.template("quick_start")
    return bare_page


@pytest.fixture
def panel(quick_start):
    return quick_start.tab.locator(".joyhallo-rows:visible")


def test_everything_missing_is_listed(panel, bare_base, hub):
    panel.get_by_text("7 model files are missing").wait_for()
    assert hub.requests == []  # nobody is asked before the button is pressed
    rows = panel.locator("li").all_inner_texts()
    names = [Path(file.place).name for name in MODELS for file in PUBLISHED[name]]
    assert all(any(name in row for row in rows) for name in (*names, "face_landmarker_v2_with_blendshapes.task"))
    assert sum("non-commercial research only" in row for row in rows) == 2
    assert any(re.search("net.pth.*4.8 GB", row, re.DOTALL) for row in rows)
    assert str(bare_base / "models" / "joyhallo") in panel.inner_text()


def test_the_small_model_and_back(quick_start, panel):
    before = quick_start.tab.evaluate(VALUES)
    panel.get_by_role("button", name="Try it with the small model").click()
    panel.get_by_text("drawn people only").wait_for()
    loader = only(quick_start.nodes("LoadJoyHalloModels"))
    assert [quick_start.widget(loader, name) for name in ("checkpoint", "face_models")] == ["demo", "demo"]
    panel.get_by_role("button", name="Use the full model").click()
    panel.get_by_text("model files are missing").wait_for()
    assert quick_start.tab.evaluate(VALUES) == before


def test_a_refusal_is_told_and_fetching_goes_on_after_a_stop(quick_start, panel, hub, bare_base):
    refused = "jdh-algo/JoyHallo-v1/net.pth"
    hub.refused[refused] = 403
    panel.get_by_role("button", name="Fetch them").click()
    panel.get_by_text("denies access").wait_for()
    hub.refused.clear()
    hub.cuts += [1] * 60  # a connection that breaks off again and again, a second apart
    panel.get_by_role("button", name="Try again").click()
    panel.get_by_role("button", name="Cancel").click()
    panel.get_by_text("Cancelled").wait_for()
    hub.cuts.clear()
    panel.get_by_role("button", name="Try again").click()
    panel.get_by_text("files cannot be read").wait_for()  # what this hub gives is nothing but text
    panel.get_by_text("net.pth is neither a PyTorch file nor a safetensors file").wait_for()
    assert panel.get_by_role("button").count() == 0
    assert (bare_base / "models" / "joyhallo" / "joyhallo" / "net.pth").read_bytes() == refused.encode()
    assert quick_start.errors == []


ADD = """kind => {
  const node = LiteGraph.createNode(kind)
  app.graph.add(node)
  node.pos = [-500, 0]
  return node.id
}"""


def test_load_redub_model_lists_its_own_file_and_fetches_it(quick_start, hub, bare_base):
    number = quick_start.tab.evaluate(ADD, "LoadRedubModel")
    quick_start.look_at(number)
    panel = quick_start.tab.locator(".joyhallo-rows:visible").filter(has_text="wav2lip_gan.pth")
    panel.get_by_text("1 model file is missing").wait_for()
    told = panel.inner_text()
    assert "436 MB" in told
    assert "research and personal use only, no commercial use" in told
    assert str(bare_base / "models" / "joyhallo") in told
    panel.evaluate("element => { element.dataset.watched = 'yes' }")
    panel = quick_start.tab.locator("[data-watched]")  # the panel of the other loader will name this file, too
    panel.get_by_role("button", name="Fetch it").click()
    panel.get_by_text(
        "wav2lip_gan.pth is neither a PyTorch file nor a safetensors file"
    ).wait_for()  # what this hub gives is nothing but text
    assert panel.get_by_role("button").count() == 0
    name = "camenduru/Wav2Lip/checkpoints/wav2lip_gan.pth"
    assert (bare_base / "models" / "joyhallo" / "wav2lip" / "wav2lip_gan.pth").read_bytes() == name.encode()
    assert quick_start.errors == []
