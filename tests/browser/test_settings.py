"""The settings about labels: found in ComfyUI's own dialog, kept in the file that nodes read."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from looks import CHINESE, PINNED, views

WORDS = {
    "en": ("AI labels", "Write AI label into saved videos", "Content producer", "Certificate for C2PA", "Private key"),
    "zh": ("AI 标识", "在保存的视频中写入 AI 标识", "内容制作者", "C2PA 证书", "C2PA 私钥"),
}


@views(PINNED, CHINESE)
def test_labels_are_set_where_comfyui_has_its_settings(page, view, base):
    page.command("Comfy.ShowSettingsDialog")
    dialog = page.dialog()
    dialog.get_by_text("JoyHallo", exact=True).first.click()
    for words in WORDS[view.language]:
        dialog.get_by_text(words).first.wait_for(timeout=20_000)
    dialog.get_by_role("switch").first.click()
    producer = dialog.get_by_role("textbox").nth(-3)
    producer.fill("Somebody")
    producer.press("Tab")
    file = base / "user" / "default" / "comfy.settings.json"
    expected = {"JoyHallo.Labels.Write": False, "JoyHallo.Labels.Producer": "Somebody"}
    for _ in range(50):
        page.tab.wait_for_timeout(100)
        with suppress(json.JSONDecodeError):  # it is being written
            if expected.items() <= json.loads(file.read_text(encoding="utf-8")).items():
                return
    pytest.fail(file.read_text(encoding="utf-8"))
