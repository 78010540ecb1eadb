"""`OneAlign`: Q-Align's language model, run by an interpreter of the user's own; `check` tells what it lacks.

The model takes an older transformers and brings code of its own; none of it is ever imported here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ..measures.qalign import prompt, tokens, word_tokens
from .elsewhere import Died, Elsewhere, ElsewhereError
from .one_align_worker import MARK

Shown = Literal["image", "video"]
SHOWN: tuple[Shown, ...] = ("image", "video")

WORKER = Path(__file__).with_name("one_align_worker.py")
PAGE = "huggingface.co/q-future/one-align"
TRANSFORMERS = "4.36."  # which the model's own code reaches into
PACKAGES = {"PIL": "pillow", "google.protobuf": "protobuf", "transformers": "transformers==4.36.2"}
BESIDE_WEIGHTS = ("config.json", "preprocessor_config.json", "tokenizer.model", "tokenizer_config.json")
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the first that is there is taken, whole or in parts
CHECKING, LOADING = 120, 1800  # seconds
ANSWERING, FOR_EACH = 600, 60  # seconds, and for each picture
RESTARTS = 4


@dataclass(frozen=True)
class Interpreter:
    """Paths alone, so that it can travel."""

    python: str
    device: str = "cuda"


@dataclass(frozen=True)
class Told:
    logits: Tensor  # float64 (prompts, 5), by measures.qalign.WORDS
    note: str = ""  # of what is to be known


# ---- before any work


def check(interpreter: Interpreter, folder: Path) -> None:
    """An ElsewhereError where something is missing that can be known without loading the model."""
    python = interpreter.python
    if not folder.is_dir():
        raise ElsewhereError(f"There is no folder {folder}; --qalign-model takes a copy of {PAGE}.")
    lacking = _missing_in(folder)
    if lacking:
        raise ElsewhereError(f"{folder} lacks {', '.join(lacking)}; --qalign-model takes a whole copy of {PAGE}.")
    found = _libraries(python, folder)
    if found["lacks"]:
        names = [PACKAGES.get(name, name) for name in map(str, found["lacks"])]
        install = f'"{python}" -m pip install {" ".join(names)}'
        raise ElsewhereError(
            f"{python} lacks {', '.join(names)}, which Q-Align takes; install what is missing: {install}"
        )
    if not found["transformers"].startswith(TRANSFORMERS):
        raise ElsewhereError(
            f"{python} has transformers {found['transformers']}, but Q-Align's own code fits {TRANSFORMERS}x alone; "
            f'make an environment for it, and install there: "{python}" -m pip install {PACKAGES["transformers"]}'
        )


def _missing_in(folder: Path) -> list[str]:
    lacking = [name for name in BESIDE_WEIGHTS if not (folder / name).is_file()]
    return lacking + ([] if "config.json" in lacking else _missing_code(folder)) + _missing_weights(folder)


def _missing_code(folder: Path) -> list[str]:
    try:
        module = _read(folder / "config.json")["auto_map"]["AutoModelForCausalLM"].rpartition(".")[0]
    except (KeyError, TypeError, AttributeError, ValueError):
        return ["the line in config.json that names its own code (auto_map)"]
    return [] if (folder / f"{module}.py").is_file() else [f"{module}.py"]


def _missing_weights(folder: Path) -> list[str]:
    for name in WEIGHTS:
        index = folder / f"{name}.index.json"
        if (folder / name).is_file():
            return []
        if index.is_file():
            return _missing_parts(index)
    return [f"{WEIGHTS[0]} or {WEIGHTS[1]}, whole or in parts"]


def _missing_parts(index: Path) -> list[str]:
    try:
        told = _read(index)
        parts, size = sorted(set(told["weight_map"].values())), int(told.get("metadata", {}).get("total_size", 0))
    except (KeyError, TypeError, AttributeError, ValueError):
        return [f"a readable {index.name}"]
    lacking = [part for part in parts if not (index.parent / part).is_file()]
    there = sum((index.parent / part).stat().st_size for part in parts if part not in lacking)
    if not lacking and there < size:
        return [f"{(size - there) / 1e9:.1f} of {size / 1e9:.1f} GB of its weights: a download was broken off"]
    return lacking


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _libraries(python: str, folder: Path) -> dict[str, Any]:
    worker = _begun(python, folder, "--check")
    try:
        return worker.next(CHECKING)
    except Died as error:
        raise ElsewhereError(f"{python} cannot be used as a Python interpreter: {error}.") from error
    finally:
        worker.end()


def _begun(python: str, folder: Path, device: str) -> Elsewhere:
    return Elsewhere(python, WORKER, str(folder), device, mark=MARK)


# ---- asking


class OneAlign:
    """Starts the model when it is first asked, and again where it died, but not for ever."""

    def __init__(self, interpreter: Interpreter, folder: Path, loading: float = LOADING):
        self.interpreter, self.folder, self.loading = interpreter, folder, loading
        self._worker: Elsewhere | None = None
        self._deaths, self._refused = 0, ""
        self._tokens = dict[Shown, list[int]]()
        self._words = list[int]()

    def look(self, pictures: Tensor, shown: Shown) -> Told:
        """float16 (n, 3, side, side): a prompt for each image, or one for all of a video."""
        self._be_ready()
        if shown == "image":
            answers = [self._ask(one, shown) for one in pictures.split(1)]
        else:
            answers = [self._ask(pictures, shown)]
        logits = torch.tensor([answer["logits"] for answer in answers], dtype=torch.float64)
        return Told(logits, _too_long(answers[-1]))

    def _ask(self, pictures: Tensor, shown: Shown) -> dict[str, Any]:
        message = {
            "shape": list(pictures.shape),
            "together": shown == "video",
            "tokens": self._tokens[shown],
            "words": self._words,
        }
        return self._answer(message, pictures.numpy().tobytes(), ANSWERING + FOR_EACH * len(pictures))

    def _be_ready(self) -> None:
        if self._refused:
            raise ElsewhereError(self._refused)
        if self._worker is not None:
            return
        try:
            self._worker = _begun(self.interpreter.python, self.folder, self.interpreter.device)
            self._worker.next(self.loading)
            self._words = word_tokens(self._tokenize)
            self._tokens = {shown: tokens(prompt(shown), self._tokenize) for shown in SHOWN}
        except (Died, ElsewhereError) as error:
            self.end()
            self._refused = f"Q-Align's model cannot be loaded: {error}"
            raise ElsewhereError(self._refused) from error

    def _tokenize(self, text: str) -> list[int]:
        assert self._worker is not None
        return self._worker.ask({"tokenize": [text]}, b"", ANSWERING)["tokens"][0]

    def _answer(self, message: Mapping[str, Any], content: bytes, within: float) -> dict[str, Any]:
        assert self._worker is not None
        try:
            return self._worker.ask(message, content, within)
        except Died as error:
            self.end()
            self._deaths += 1
            told = f"Q-Align's process died: {error}"
            if self._deaths > RESTARTS:
                told = self._refused = f"{told} ({self._deaths} times by now, so it is not started again)"
            raise ElsewhereError(told) from error

    def end(self) -> None:
        if self._worker is not None:
            self._worker.end()
            self._worker = None


def _too_long(answer: Mapping[str, Any]) -> str:
    length, learnt = answer["length"], answer["learnt"]
    if not 0 < learnt < length:
        return ""
    return f"it is long for Q-Align: {length} tokens in one prompt, of which its language model learnt {learnt}"
