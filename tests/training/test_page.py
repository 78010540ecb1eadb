"""The commands of docs/training.md, as they stand there, on three videos and small models in the places of the real."""

import os
import re
import shlex
from dataclasses import asdict

import pytest
from filmed import film
from shared import REPOSITORY

from joyhallo.data import prepare
from joyhallo.data.dataset import open_dataset
from joyhallo.methods.hallo.checkpoint import open_checkpoint
from joyhallo.methods.hallo.published import PUBLISHED
from joyhallo.training import cost
from joyhallo.training.__main__ import RECIPES, main
from joyhallo.training.recipe import Recipe, flat, read_recipe

PAGES = [REPOSITORY / "docs" / f"training{language}.md" for language in ("", ".zh-CN")]
IN_BOTH = pytest.mark.parametrize("page", PAGES, ids=["en", "zh"])
RECIPE = flat(asdict(Recipe()))
SMALLEST = ["steps=1", "data.batch=1", "data.workers=0", "device=cpu", "precision=no"]


def commands(page) -> list[list[str]]:
    """Every line of every block of code, in words; lines that go on are joined."""
    blocks = re.findall(r"```\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if line]


def arguments(page, module: str) -> list[list[str]]:
    start = ["-m", module]
    found = [(words, at) for words in commands(page) for at in range(len(words)) if words[at : at + 2] == start]
    return [words[at + 2 :] for words, at in found]


def test_both_languages_have_the_same_commands():
    assert commands(PAGES[0]) == commands(PAGES[1])


OPTION = re.compile(r"(?<![\w-])--[a-z][a-z_-]+")
OTHERS = {"--local-dir", "--num_processes"}  # of hf and accelerate


@IN_BOTH
def test_every_setting_and_option_that_the_page_names_exists(page, capsys):
    text = page.read_text(encoding="utf-8")
    for command in (prepare.main, main, cost.main):
        with pytest.raises(SystemExit):
            command(["--help"])
    named = set(OPTION.findall(text))
    assert {"--identity", "--validation", "--set", "--dry-run", "--face-models"} <= named
    assert named <= set(OPTION.findall(capsys.readouterr().out)) | OTHERS
    changed = set(re.findall(r"--set ([\w.]+)=", text)) | set(re.findall(r"`([a-z]+\.[a-z_]+)[ =`]", text))
    changed -= {"NAME", "model.safetensors", "metrics.jsonl"}
    assert {"start.weights", "codec.path", "data.batch", "optimizer.kind"} <= changed <= set(RECIPE)
    for module in ("joyhallo.training", "joyhallo.training.cost"):
        for name, *rest in arguments(page, module):
            read_recipe(RECIPES / f"{name}.toml", [word for word in rest if "=" in word])


@IN_BOTH
def test_every_file_that_is_fetched_is_a_published_one_and_lands_where_it_is_looked_for(page):
    published = {(file.repository, file.path): file.place for files in PUBLISHED.values() for file in files}
    landed = set()
    for words in commands(page):
        if words[:2] == ["hf", "download"]:
            repository, *files, _, folder = words[2:]
            for file in files:
                place = published.get((repository, file), file)
                assert f"{folder}/{file}" == f"pretrained_models/{place}"
                landed.add(f"{folder}/{file}")
    looked_for = {word.split("=")[-1] for words in commands(page) for word in words if "pretrained_models/" in word}
    looked_for |= {read_recipe(RECIPES / "stage1.toml").start.weights, read_recipe(RECIPES / "stage2.toml").codec.path}
    looked_for = {place for place in looked_for if place.count("/") > 1 or "." in place or place not in landed}
    for place in looked_for - {"pretrained_models/joyhallo"}:
        assert any(file == place or file.startswith(f"{place}/") for file in landed), place


@pytest.mark.slow
def test_three_videos_become_a_model_by_the_commands_of_the_page(tmp_path, monkeypatch, caplog):
    """Small models lie in the places of the real ones, the landmarker knows these faces, and a run has one step."""
    demo, there = REPOSITORY / "demo_model", tmp_path / "pretrained_models"
    for source, place in (
        (demo / "net.safetensors", "joyhallo/net.pth"),
        (demo / "vae.safetensors", "sd-vae-ft-mse/diffusion_pytorch_model.safetensors"),
        (demo / "wav2vec2", "chinese-wav2vec2-base"),
    ):
        (there / place).parent.mkdir(parents=True, exist_ok=True)
        os.symlink(source, there / place)
    for name in ("anna", "bert", "carla"):
        film(tmp_path / "videos" / f"{name}.mp4")
    monkeypatch.chdir(tmp_path)
    (preparing,) = arguments(PAGES[0], "joyhallo.data.prepare")
    at = preparing.index("--landmarker")
    stand_in = ["--finders", "filmed:green", "--size", "64", "--workers", "0"]
    assert prepare.main([*preparing[:at], *preparing[at + 2 :], *stand_in]) == 0
    assert len(open_dataset("dataset").clips) == 3
    caplog.set_level("INFO")
    runs = [line for line in arguments(PAGES[0], "joyhallo.training") if "start.weights" in " ".join(line)]
    assert [line[0] for line in runs] == ["stage1", "stage1", "stage2"]
    for line in runs:
        assert main([*line, *(word for change in SMALLEST for word in ("--set", change))]) == 0, caplog.text
    assert "there will be no validation videos" in caplog.text
    assert caplog.messages[-1].startswith("Finished: runs/stage2/model.safetensors")
    assert open_checkpoint("runs/stage2/model.safetensors").config.net.audio_layers == 4
