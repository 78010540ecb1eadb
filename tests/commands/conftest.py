from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from redub_files import ULTRALIGHT, write_ultralight

from joyhallo.commands import main
from joyhallo.film.write import write
from tools.short_rows import draw


@pytest.fixture(scope="session")
def material(tmp_path_factory) -> Path:
    """A folder with a drawn person, masks of lips and face, two recordings, and a video of 6 frames."""
    import torch

    folder = tmp_path_factory.mktemp("material")
    sitter = draw(folder)
    (folder / "broken.wav").write_bytes(b"not a sound")
    pictures = torch.from_numpy(np.stack([sitter.picture()] * 6))
    write(folder / "film.mkv", [pictures], 25, None, "mkv", "small")
    return folder


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_ultralight(folder)
    return folder


@pytest.fixture
def model(models) -> Path:
    return models / ULTRALIGHT


@pytest.fixture
def run(capsys, monkeypatch, tmp_path) -> Callable[..., tuple[int, str, str]]:
    """A command line -> exit code, output, errors; in a folder of its own, without models."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JOYHALLO_MODELS", raising=False)

    def run(*arguments: Any) -> tuple[int, str, str]:
        try:
            code = main([str(one) for one in arguments])
        except SystemExit as end:  # of argparse
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def masks(material) -> tuple[Any, ...]:
    return "--lip-mask", material / "lips.png", "--face-mask", material / "face.png"


def entries(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
