"""What it costs others that the pack is installed: nothing; and what a missing library costs: its own uses alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from film import Film

from tools.comfyui.server import ROOT, Client

FRESH = Path(__file__).with_name("fresh.py")
NODES = [
    "LoadJoyHalloModels",
    "FaceMaskPrep",
    "JoyHalloTurns",
    "ChineseWav2Vec2Encode",
    "JoyHalloMotion",
    "JoyHalloSteadiness",
    "JoyHalloSampler",
    "SaveTalkingVideo",
    "PuppetPortrait",
    "TrackFace",
    "LoadRedubModel",
    "RedubLips",
    "CutFaces",
    "PasteFaces",
    "ScoreLipSync",
    "ScoreVideo",
    "CompareVideos",
    "ScoreLikeness",
    "EvaluationReport",
    "AlignSound",
    "JoyHalloCompile",
]
OPTIONAL = ("insightface", "mediapipe", "onnxruntime", "soundfile", "soxr", "cv2", "diffusers", "librosa", "torchaudio")
HEAVY = {*OPTIONAL, "av", "huggingface_hub", "matplotlib", "scipy", "skimage", "tensorflow", "transformers"}


def fresh(tree: Path, *absent: str) -> dict:
    asked = [sys.executable, str(FRESH), str(tree), *absent]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(asked, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def imported(comfyui):
    return fresh(comfyui)


def test_all_nodes_are_there(imported):
    assert imported["nodes"] == NODES


def test_nothing_heavy_is_imported(imported):
    assert {name.partition(".")[0] for name in imported["modules"]} & HEAVY == set()


def test_nothing_is_written_sent_or_started(imported):
    assert imported["acts"] == []


def test_nothing_is_said(imported):
    assert (imported["printed"], imported["said"]) == ("", [])


def test_nothing_that_others_share_is_changed(imported):
    assert imported["changed"] == {}


def test_no_optional_library_is_needed_to_be_there(comfyui):
    """Nor torchaudio, without which ComfyUI's own audio nodes are missing."""
    assert fresh(comfyui, *OPTIONAL)["nodes"] == NODES


# ---- broken libraries

UNMASKED = {"face_mask": None, "lip_mask": None, "identity": "from the picture"}


@pytest.fixture
def client(crippled):
    return Client(crippled.url)


def test_what_needs_no_broken_library_runs(crippled, client):
    assert "IMPORT FAILED" not in crippled.text()
    run = client.run(Film(sound="heard.wav"))
    assert run.status == "success", run.message


@pytest.mark.parametrize(
    ("film", "node", "beginning", "command"),
    [
        (
            Film(sound="speech.wav"),
            "ChineseWav2Vec2Encode",
            "Resampling sound needs the library soxr, which is not installed; install it with: ",
            'install "soxr"',
        ),
        (
            Film(sound="heard.wav", models={"face_models": "face_analysis"}, face=UNMASKED),
            "FaceMaskPrep",
            "Recognising a face needs the library insightface, which cannot be loaded (ImportError: libinsight.so.1",
            "install --force-reinstall --no-deps",
        ),
        (
            Film(sound="heard.wav", speech={"separate_vocals": "on"}),
            "ChineseWav2Vec2Encode",
            "Separating the voice from music needs the library onnxruntime, which cannot be loaded (ImportError: DLL",
            'install --force-reinstall --no-deps "onnxruntime"',
        ),
    ],
    ids=["soxr", "insightface", "onnxruntime"],
)
def test_a_node_that_needs_one_names_it_and_the_cure(client, film, node, beginning, command):
    run = client.run(film)
    assert (run.status, run.error.get("node_type")) == ("error", node), run.message
    assert run.message.startswith(beginning)
    assert command in run.message
    assert "\n" not in run.message


def test_the_next_run_is_fine(client):
    assert client.run(Film(sound="heard.wav", sampler={"seed": 7})).status == "success"


def test_what_breaks_a_library_that_works_is_named(tmp_path):
    """transformers imports soundfile, where it finds one, when its wav2vec2 is asked for."""
    (tmp_path / "soundfile.py").write_text("raise OSError('sndfile library not found')")
    code = (
        "from joyhallo.sound.wav2vec2 import load_encoder\n"
        "try: load_encoder('demo_model/wav2vec2')\n"
        "except RuntimeError as error: print(error)"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    asked = [sys.executable, "-c", code]
    said = subprocess.run(asked, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    assert said.startswith("The speech encoder needs the library soundfile, which cannot be loaded (OSError: sndfile")
    assert said.endswith('install --force-reinstall --no-deps "soundfile"\n')
