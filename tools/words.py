"""Translations of the nodes: `locales/en` is generated from the nodes, `locales/zh` is written by hand.

    python -m tools.words    # writes the English file from a running ComfyUI, lists gaps of the Chinese one

Beside the entries that ComfyUI reads there are `options`, the labels of choices, for `web/choices.js`.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .comfyui.server import PACK, ROOT, Client, Server, install_pack

LOCALES = ROOT / "locales"
FILE = "nodeDefs.json"
ENGLISH, CHINESE = "en", "zh"

FILES = {
    "checkpoint",
    "audio_encoder",
    "face_models",
    "vae",
    "model",
    "judge",
}  # inputs whose choices are names of files
AMONG_FILES = {"demo", "none", "lip reader"}  # words that are choices there, too
SYNTAX = re.compile("[{}@|]")  # vue-i18n reads more into them, in some versions of the page and not in others
HAN = re.compile("[\u4e00-\u9fff]")
NAMES = {  # the same in Chinese
    *("VAE", "CFG", "fp16", "bf16", "fp32", "fp8_e4m3fn", "mp4", "webm", "mov", "mkv", "InsightFace", "MediaPipe"),
}

Words = dict[str, Any]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        install_pack(Path(folder))
        with Server(Path(folder)) as server:
            said = spoken(Client(server.url).nodes())
    write(ENGLISH, said)
    problems = [*differences(said, read(CHINESE)), *unreadable(said), *untranslated(read(CHINESE))]
    if problems:
        sys.exit("\n".join(problems))


def read(language: str) -> Words:
    return json.loads((LOCALES / language / FILE).read_text(encoding="utf-8"))


def write(language: str, words: Words) -> None:
    (LOCALES / language).mkdir(parents=True, exist_ok=True)
    (LOCALES / language / FILE).write_text(as_text(words), encoding="utf-8")


def as_text(words: Words) -> str:
    return json.dumps(words, ensure_ascii=False, indent=2) + "\n"


# ---- what the nodes say


def ours(nodes: Mapping[str, Any]) -> dict[str, Any]:
    """Our nodes in the /object_info of all."""
    return {name: about for name, about in nodes.items() if about["python_module"].endswith(f".{PACK}")}


def spoken(nodes: Mapping[str, Any]) -> Words:
    """Convert the /object_info to nodeDefs for ComfyUI's page."""
    return {name: _node(about) for name, about in ours(nodes).items()}


def _node(about: Mapping[str, Any]) -> Words:
    inputs: Words = {}
    for name, (kind, *more) in _inputs(about):
        facts = more[0] if more else {}
        inputs[name] = {"name": name, "tooltip": facts["tooltip"], **_options(name, kind, facts)}
        if facts.get("control_after_generate"):  # the page's own widget, below this one
            inputs["control_after_generate"] = {"name": "control after generate"}
    outputs = zip(about["output_name"], about["output_tooltips"], strict=True)
    return {
        "display_name": about["display_name"],
        "description": about["description"],
        "inputs": inputs,
        "outputs": {f"{number}": {"name": name, "tooltip": tooltip} for number, (name, tooltip) in enumerate(outputs)},
    }


def _inputs(about: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for group in ("required", "optional"):
        yield from about["input"].get(group, {}).items()


def _options(name: str, kind: str, facts: Mapping[str, Any]) -> Words:
    """The labels of choices, if any."""
    if kind == "BOOLEAN":
        return {"options": {"on": facts.get("label_on") or "on", "off": facts.get("label_off") or "off"}}
    words = [word for word in facts["options"] if not word.isdigit()] if kind == "COMBO" else []
    if name in FILES:
        words = [word for word in words if word in AMONG_FILES]
    return {"options": {word: word for word in words}} if words else {}


# ---- what is wrong


def differences(english: Words, other: Words) -> list[str]:
    """Keys that only one of the two has."""
    here, there = dict(texts(english)), dict(texts(other))
    return [f"missing: {key}" for key in here.keys() - there.keys()] + [
        f"stale: {key}" for key in there.keys() - here.keys()
    ]


def unreadable(words: Words) -> list[str]:
    return [f"holds one of {{ }} @ |: {key}" for key, text in texts(words) if SYNTAX.search(text)]


def untranslated(chinese: Words) -> list[str]:
    """Texts without any Chinese that are not names."""
    return [f"not Chinese: {key}" for key, text in texts(chinese) if text not in NAMES and not HAN.search(text)]


def texts(words: Words, *above: str) -> Iterator[tuple[str, str]]:
    """Each text with its key."""
    for key, value in words.items():
        if isinstance(value, dict):
            yield from texts(value, *above, key)
        else:
            yield " / ".join((*above, key)), value


if __name__ == "__main__":
    main()
