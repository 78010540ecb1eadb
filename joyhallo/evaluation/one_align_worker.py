"""Runs in another interpreter, which has what Q-Align's model asks for: `python one_align_worker.py FOLDER DEVICE`.

It loads the model, with the model's own code, from its folder, and imports nothing of this package. It is asked on
stdin, in lines of JSON, and answers on stdout, in lines of MARK and JSON; what others print goes to stderr.

    {"tokenize": [text, ...]}                          -> {"tokens": [[number, ...], ...]}
    {"shape": [n, 3, side, side], "together": bool, "tokens": [number, ...], "words": [number, ...]}
        and the pictures, in half precision, as bytes  -> {"logits": [number, ...], "length": number, "learnt": number}

In place of an answer {"error": sentence}. `FOLDER --check` tells which libraries are there, and loads nothing.
"""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any, BinaryIO

MARK = b"joyhallo "
HOME = "one_align_folder"  # the name under which the folder's code is a package
ALWAYS = ("torch", "transformers", "accelerate", "sentencepiece", "google.protobuf", "PIL", "numpy")


def main() -> int:
    sys.path.pop(0)  # this file's own folder, whose modules are none of the model's
    sys.dont_write_bytecode = True  # the user's folder stays as it is
    source, answers = sys.stdin.buffer, _kept_apart()
    folder = Path(sys.argv[1])
    if "--check" in sys.argv:
        _tell(answers, _found(folder))
        return 0
    try:
        model, tokenizer = _loaded(folder, sys.argv[2])
    except Exception as error:
        _tell(answers, {"error": _told(error)})
        return 1
    _tell(answers, {"ready": True})
    for line in iter(source.readline, b""):
        try:
            told = _answer(model, tokenizer, json.loads(line), source)
        except Exception as error:
            told = {"error": _told(error)}
            _forget()
        _tell(answers, told)
    return 0


def _kept_apart() -> BinaryIO:
    """Stdout for answers alone: whatever libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    return answers


def _tell(answers: BinaryIO, told: dict[str, Any]) -> None:
    answers.write(MARK + json.dumps(told).encode("ascii") + b"\n")


# ---- what is there


def _found(folder: Path) -> dict[str, Any]:
    wanted = [*ALWAYS, *(name for file in sorted(folder.glob("*.py")) for name in _imported(file))]
    try:
        version = importlib.metadata.version("transformers")
    except importlib.metadata.PackageNotFoundError:
        version = ""
    return {"lacks": [name for name in dict.fromkeys(wanted) if not _is_there(name)], "transformers": version}


def _imported(file: Path) -> list[str]:
    """What a module of the folder imports from elsewhere, as soon as it is imported itself."""
    found, beside = [], {other.stem for other in file.parent.glob("*.py")}
    for node in ast.parse(file.read_bytes()).body:
        if isinstance(node, ast.Import):
            found += [name.name.partition(".")[0] for name in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.append(node.module.partition(".")[0])
    return [name for name in found if name not in beside]


def _is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


# ---- the model


def _loaded(folder: Path, device: str) -> tuple[Any, Any]:
    import torch
    import transformers

    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"its torch {torch.__version__} sees no CUDA device")
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), use_fast=False)
    for loader in (transformers.AutoTokenizer, transformers.CLIPImageProcessor):
        _bring_home(loader, folder)
    model, report = _kind(folder).from_pretrained(
        str(folder),
        torch_dtype=torch.float16,
        low_cpu_mem_usage=True,
        device_map="auto" if device == "auto" else {"": device},
        attn_implementation="eager",  # the authors' torch 2.0 had no other, and their code lacks a part of the other
        output_loading_info=True,
    )
    lacking = [*report["missing_keys"], *report["mismatched_keys"]]
    if lacking:  # they would be drawn by chance, and the scores with them
        raise ValueError(f"the folder's files lack {len(lacking)} of the model's weights, such as {lacking[0]}")
    return model.eval(), tokenizer


def _kind(folder: Path) -> Any:
    """The class that the folder's own code defines.

    Imported where it lies: transformers 4.36 would copy the modules that the first one imports, and not those that
    these import in turn.
    """
    module, _, name = json.loads((folder / "config.json").read_bytes())["auto_map"]["AutoModelForCausalLM"].rpartition(
        "."
    )
    spec = importlib.util.spec_from_loader(HOME, None, is_package=True)
    assert spec is not None
    package = importlib.util.module_from_spec(spec)
    package.__path__ = [str(folder)]
    sys.modules[HOME] = package
    return getattr(importlib.import_module(f"{HOME}.{module}"), name)


def _bring_home(loader: Any, folder: Path) -> None:
    """The model's code asks the hub for its tokenizer, by the model's name; the folder has the same."""
    given = loader.from_pretrained
    loader.from_pretrained = lambda name, *more, **options: given(str(folder), *more, **options)


def _answer(model: Any, tokenizer: Any, asked: dict[str, Any], source: BinaryIO) -> dict[str, Any]:
    if "tokenize" in asked:
        return {"tokens": [tokenizer(text).input_ids for text in asked["tokenize"]]}
    import torch

    count, planes, height, width = asked["shape"]
    content = bytearray(source.read(2 * count * planes * height * width))
    pictures = torch.frombuffer(content, dtype=torch.float16).view(asked["shape"]).to(model.device)
    tokens = torch.tensor([asked["tokens"]], device=model.device)
    with torch.inference_mode():
        # Pictures of one list stand in one place, one after the other.
        told = model(tokens, images=[pictures] if asked["together"] else pictures)["logits"]
    return {
        "logits": told[0, -1, asked["words"]].tolist(),
        "length": told.shape[1],
        "learnt": getattr(model.config, "max_position_embeddings", 0),
    }


# ---- what went wrong


def _told(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [""]
    if isinstance(error, MemoryError) or "out of memory" in lines[0] or "can't allocate memory" in lines[0]:
        return f"memory ran out ({lines[0][:200]})"
    if isinstance(error, ValueError):
        return lines[0][:400]
    return f"{type(error).__name__}: {lines[0][:400]}"


def _forget() -> None:
    """Give back the memory that a failed question holds."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


if __name__ == "__main__":
    sys.exit(main())
