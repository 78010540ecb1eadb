"""Q-Align in an environment of its own: a model's folder with a few lines of code in place of the language model."""

from __future__ import annotations

import json
import shutil
import site
import sysconfig
import venv
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from joyhallo.config import FPS
from joyhallo.evaluation import __main__ as command
from joyhallo.evaluation import one_align, quality
from joyhallo.evaluation.elsewhere import ElsewhereError
from joyhallo.evaluation.one_align import Interpreter, OneAlign
from joyhallo.film.read import Film
from joyhallo.film.write import write
from joyhallo.measures import qalign

TRANSFORMERS = """
class Letters:
    @classmethod
    def from_pretrained(cls, place, **options):
        assert open(place + "/tokenizer.model").read() == "letters", place
        return cls()

    def __call__(self, text):
        self.input_ids = [1, *map(ord, text)]
        return self

AutoTokenizer = CLIPImageProcessor = Letters
"""
MODEL = """
import os

import torch
from transformers import AutoTokenizer

from .beside import LEARNT

class Model:
    device = torch.device("cpu")
    config = type("Config", (), {"max_position_embeddings": LEARNT})

    @classmethod
    def from_pretrained(cls, folder, **options):
        print("joyhallo is a word that anybody may print")
        AutoTokenizer.from_pretrained("somebody/on-the-hub")
        return cls(), {"missing_keys": [], "mismatched_keys": []}

    def eval(self):
        return self

    def __call__(self, tokens, images):
        os.write(1, b"hm\\n")
        together = isinstance(images, list)
        pictures = images[0] if together else images
        assert pictures.dtype == torch.float16 and (tokens == -200).sum() == 1
        mean = float(pictures.float().mean())
        if mean > 1.5 and together:
            os._exit(3)
        if mean < -1.5:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        logits = mean * torch.arange(200.0).repeat(1, tokens.shape[1] + 64 * len(pictures), 1)
        return {"logits": logits / (10 if together else 20)}
"""


@dataclass(frozen=True)
class Away:
    """An environment of its own, and a model's folder."""

    packages: Path
    python: str
    folder: Path

    @property
    def given(self) -> list[str]:
        return ["--qalign-python", self.python, "--qalign-model", str(self.folder), "--qalign-device", "cpu"]


@pytest.fixture
def away(tmp_path) -> Away:
    """With this one's torch, and a transformers that has what the folder's code takes."""
    place = tmp_path / "environment"
    venv.create(place, symlinks=True)
    paths = sysconfig.get_paths("venv", vars={"base": str(place), "platbase": str(place)})
    packages, python = Path(paths["purelib"]), shutil.which("python", path=paths["scripts"])
    assert python is not None
    (packages / "beside.pth").write_text("\n".join(site.getsitepackages()))
    (packages / "sitecustomize.py").write_text('print("welcome")')
    for name in ("accelerate", "sentencepiece", "google/protobuf", "PIL"):
        (packages / name).mkdir(parents=True)
        (packages / name / "__init__.py").touch()
    (packages / "transformers.py").write_text(TRANSFORMERS)
    has_transformers(packages, "4.36.1")
    folder = tmp_path / "one-align"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"auto_map": {"AutoModelForCausalLM": "modeling.Model"}}))
    (folder / "modeling.py").write_text(MODEL)
    (folder / "beside.py").write_text("LEARNT = 300\n")
    (folder / "tokenizer.model").write_text("letters")
    for name in ("preprocessor_config.json", "tokenizer_config.json", "model.safetensors"):
        (folder / name).touch()
    return Away(packages, python, folder)


def has_transformers(packages: Path, version: str) -> None:
    about = packages / "transformers.dist-info"
    about.mkdir(exist_ok=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: transformers\nVersion: {version}\n")


def film(path: Path, level: float, seconds: float = 1.0) -> None:
    write(path, iter([torch.full((round(seconds * FPS), 32, 32, 3), level)]), FPS, None)


def test_a_clip_that_kills_the_model_costs_itself_alone(away, tmp_path, monkeypatch):
    films, out = tmp_path / "films", tmp_path / "out"
    films.mkdir()
    film(films / "fatal.mp4", 1.0, seconds=10)  # the largest file is the first one
    film(films / "good.mp4", 0.7, seconds=3)
    film(films / "greedy.mp4", 0.0)
    film(films / "short.mp4", 0.7, seconds=0.5)
    given = [str(films), "--metrics", "iqa,vqa", "-o", str(out), "--workers", "0", *away.given]
    assert command.main(given) == 0
    found = {clip["name"]: clip for clip in json.loads((out / "results.json").read_text())["clips"]}
    assert found["good.mp4"]["values"] == pytest.approx(expected(films / "good.mp4"), abs=1e-6)
    assert found["good.mp4"]["notes"] == []
    assert found["fatal.mp4"]["values"].keys() == {"iqa"}
    assert "process died: it ended with 3" in found["fatal.mp4"]["missing"]["vqa"]
    assert set(found["greedy.mp4"]["missing"].values()) == {
        "memory ran out (CUDA out of memory. Tried to allocate 2.00 GiB)"
    }
    assert "last a second" in found["short.mp4"]["missing"]["iqa"]
    assert {name for name, clip in found.items() if clip["lost"]} == {"fatal.mp4", "greedy.mp4"}  # may do the next time
    assert not list(away.folder.rglob("*.pyc"))
    running = quality._one_align(Interpreter(away.python, "cpu"), away.folder)
    assert "of which its language model learnt 300" in running.look(torch.zeros(4, 3, 8, 8).half(), "video").note
    monkeypatch.setattr(one_align, "RESTARTS", 1)
    for _ in range(2):
        with pytest.raises(ElsewhereError, match=r"it ended with 3.*2 times by now, so it is not started again"):
            running.look(torch.full((1, 3, 8, 8), 2.0).half(), "video")


def expected(path: Path) -> dict[str, float]:
    pictures = torch.stack([torch.from_numpy(picture) for picture in Film(path).pictures()])[::FPS]
    means = qalign.prepared(pictures).half().double().mean((1, 2, 3))
    letters = torch.tensor([ord(word[0]) for word in qalign.WORDS])
    return {
        "iqa": float(qalign.score(means[:, None] * letters / 20).mean()),
        "vqa": float(qalign.score(means.mean() * letters[None] / 10)),
    }


def test_a_model_that_does_not_load_in_time_is_given_up(away):
    asked = OneAlign(Interpreter(away.python, "cpu"), away.folder, loading=0.01)
    with pytest.raises(ElsewhereError, match="cannot be loaded: it gave no answer in time"):
        asked.look(torch.zeros(1, 3, 8, 8).half(), "image")


def without_a_tokenizer(away: Away) -> None:
    (away.folder / "tokenizer.model").unlink()


def without_a_part(away: Away) -> None:
    (away.folder / "model.safetensors").unlink()
    told = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}, "metadata": {"total_size": 9}}
    (away.folder / "model.safetensors.index.json").write_text(json.dumps(told))
    (away.folder / "one.safetensors").touch()


def with_half_a_download(away: Away) -> None:
    without_a_part(away)
    (away.folder / "two.safetensors").write_bytes(b"12345678")


def without_a_library(away: Away) -> None:
    (away.folder / "beside.py").write_text("import nobodys_library\nfrom google import protobuf\nLEARNT = 300\n")
    (away.packages / "accelerate" / "__init__.py").unlink()
    (away.packages / "accelerate").rmdir()
    (away.packages / "beside.pth").unlink()


def with_a_new_transformers(away: Away) -> None:
    has_transformers(away.packages, "5.1.0")


@pytest.mark.parametrize(
    ("spoil", "changes", "told"),
    [
        (None, {"python": "nowhere/python"}, "There is no interpreter nowhere/python"),
        (None, {"python": "echo"}, "echo cannot be used as a Python interpreter: it ended with 0"),
        (None, {"folder": Path("nowhere")}, "There is no folder nowhere"),
        (without_a_tokenizer, {}, "lacks tokenizer.model;"),
        (without_a_part, {}, "lacks two.safetensors;"),
        (with_half_a_download, {}, "GB of its weights: a download was broken off"),
        (without_a_library, {}, "lacks torch, accelerate, numpy, nobodys_library, which"),
        (with_a_new_transformers, {}, "has transformers 5.1.0, but"),
    ],
)
def test_what_is_missing_is_told_before_any_work(away, tmp_path, capsys, spoil, changes, told):
    film(tmp_path / "a.mp4", 0.5)
    if spoil is not None:
        spoil(away)
    given = [str(tmp_path / "a.mp4"), "--metrics", "iqa", "-o", str(tmp_path / "out"), *replace(away, **changes).given]
    assert command.main(given) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_half_of_what_it_takes_and_a_cluster_are_refused(away, tmp_path, capsys):
    film(tmp_path / "a.mp4", 0.5)
    given = [str(tmp_path / "a.mp4"), "--metrics", "iqa", "-o", str(tmp_path / "out")]
    assert command.main([*given, *away.given[:2]]) == 2
    assert "both --qalign-python and --qalign-model" in capsys.readouterr().err
    assert command.main([*given, *away.given, "--ray", "local"]) == 2
    assert "leave out --ray" in capsys.readouterr().err
    assert command.main([*given, "--workers", "0"]) == 0
    assert "not there: Q-Align: give --qalign-python" in capsys.readouterr().out
