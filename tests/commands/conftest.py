from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image, ImageDraw
from redub_files import ULTRALIGHT, write_ultralight

from joyhallo.commands import main
from joyhallo.drawn.drawing import Look, Sitter
from joyhallo.faces.regions import LIPS, OUTLINE
from joyhallo.film.write import write

SIDE, RATE = 128, 16_000


@pytest.fixture(scope="session")
def material(tmp_path_factory) -> Path:
    """A folder with a drawn person, masks of lips and face, two recordings, and a video of 6 frames."""
    import torch

    folder = tmp_path_factory.mktemp("material")
    sitter = Sitter(Look(), SIDE)
    Image.fromarray(sitter.picture()).save(folder / "anna.png")
    for name, points in (("lips", LIPS), ("face", OUTLINE)):
        mask = Image.new("L", (SIDE, SIDE))
        outline = sitter.mesh()[list(points)]
        ImageDraw.Draw(mask).polygon([tuple(point) for point in outline.tolist()], fill=255)
        mask.save(folder / f"{name}.png")
    time = np.arange(round(0.2 * RATE)) / RATE
    for name, pitch in (("hello", 180), ("你好", 240)):
        soundfile.write(folder / f"{name}.wav", 0.4 * np.sin(2 * np.pi * pitch * time), RATE)
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
