"""Writing the files of `demo_model/`: the bundled small model with its portrait and sentence."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open

from joyhallo.faces.known import write_faces
from joyhallo.methods.hallo.checkpoint import HEADER_ENTRY, open_checkpoint
from joyhallo.training.checkpoints import write_model

from ..comfyui.server import ROOT
from ..pictures import clip, portrait

FOLDER = ROOT / "demo_model"
ASSETS = (
    *("portrait.png", "face_mask.png", "lip_mask.png", "couple.png", "couple_masks.png"),
    *("speech.wav", "clip.mp4", "late.mp4"),
)
ENCODER_FILES = ("config.json", "preprocessor_config.json", "model.safetensors")
NOTE = "A small model of drawn people: it shows a drawn face that speaks, and knows nothing of photographs."
SENTENCE = "ni3 hao3, huan1 ying2 guan1 kan4."  # hello, and welcome


def note() -> str:
    """The note in the bundled model's header."""
    with safe_open(FOLDER / "net.safetensors", "pt") as file:
        return json.loads(file.metadata()[HEADER_ENTRY]).get("note", "")


def write(net: Path, codec: Path, encoder: Path, folder: Path = FOLDER) -> None:
    """Write all files but the model card, from the results of training."""
    write_models(net, codec, encoder, folder)
    write_pictures(folder)
    write_speech(folder / "speech.wav")
    clip.write(folder)


def write_models(net: Path, codec: Path, encoder: Path, folder: Path) -> None:
    trained = open_checkpoint(net)
    write_model(folder / "net.safetensors", trained.weights, replace(trained.config, note=NOTE), torch.float16)
    shutil.copyfile(codec, folder / "vae.safetensors")
    (folder / "wav2vec2").mkdir(parents=True, exist_ok=True)
    for name in ENCODER_FILES:
        shutil.copyfile(encoder / name, folder / "wav2vec2" / name)


def write_speech(path: Path) -> None:
    spoken = ("espeak-ng", "-v", "cmn-latn-pinyin", "-s", "150", "-w", str(path), SENTENCE)
    subprocess.run(spoken, check=True)


def write_pictures(folder: Path) -> None:
    portrait.portrait().save(folder / "portrait.png", optimize=True)
    portrait.mask(portrait.face_box()).save(folder / "face_mask.png", optimize=True)
    portrait.mask(portrait.lip_box()).save(folder / "lip_mask.png", optimize=True)
    portrait.couple().save(folder / "couple.png", optimize=True)
    portrait.couple_masks().save(folder / "couple_masks.png", optimize=True)
    write_faces(folder / "faces.safetensors", [(np.asarray(picture), meshes) for picture, meshes in portrait.known()])
