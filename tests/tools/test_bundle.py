"""The small model that comes with the nodes: its files are what they say, and fit together."""

from __future__ import annotations

import importlib
import shutil
import wave
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from joyhallo.diffusion.codec import load_codec
from joyhallo.drawn.drawing import Pose, look_of
from joyhallo.evaluation.drawn.makers import How, as_film, open_engine
from joyhallo.evaluation.drawn.talks import talks
from joyhallo.faces.boxes import around
from joyhallo.methods.hallo.checkpoint import load_checkpoint
from joyhallo.methods.hallo.networks.net import Net
from joyhallo.sound.wav2vec2 import load_encoder
from joyhallo.training import recipe
from joyhallo.training.start import sizes
from tools.demo_model import bundle, model, outcomes
from tools.pictures import clip, portrait

MODELS = ("net.safetensors", "vae.safetensors", "wav2vec2/model.safetensors")
PICTURES = ("portrait.png", "face_mask.png", "lip_mask.png")
COUPLE = ("couple.png", "couple_masks.png")
RECIPES = Path(recipe.__file__).with_name("recipes")


def test_the_pictures_are_those_that_are_made_anew(tmp_path):
    bundle.write_pictures(tmp_path)
    for name in (*PICTURES, *COUPLE):
        assert np.array_equal(Image.open(bundle.FOLDER / name), Image.open(tmp_path / name)), name
    assert (tmp_path / "faces.safetensors").stat().st_size == (bundle.FOLDER / "faces.safetensors").stat().st_size


def test_a_trained_model_becomes_the_bundled_one(tmp_path):
    """Half precision, a note of its own, and nothing else changed."""
    bundle.write_models(
        *(bundle.FOLDER / name for name in ("net.safetensors", "vae.safetensors", "wav2vec2")), tmp_path
    )
    for name in MODELS:
        assert (tmp_path / name).read_bytes() == (bundle.FOLDER / name).read_bytes(), name


def test_the_networks_fit_together():
    config = load_checkpoint(bundle.FOLDER / "net.safetensors").config.net
    encoder = load_encoder(bundle.FOLDER / "wav2vec2").model.config
    assert (encoder.num_hidden_layers, encoder.hidden_size) == (config.audio_layers, config.audio_channels)
    assert config.levels == 4  # sizes are multiples of 64, as with the published model
    codec = load_codec(bundle.FOLDER / "vae.safetensors", dtype=torch.float32)
    assert codec.encode(torch.zeros(1, 3, 64, 128)).shape == (1, config.latent_channels, 8, 16)


def test_the_model_says_what_it_is():
    assert bundle.note() == load_checkpoint(bundle.FOLDER / "net.safetensors").config.note


def test_the_masks_are_those_of_the_portrait():
    picture, face, lips = (np.asarray(Image.open(bundle.FOLDER / name)) for name in PICTURES)
    assert picture.shape == (512, 512, 3)
    assert face.shape == lips.shape == picture.shape[:2]
    assert set(np.unique(face)) == set(np.unique(lips)) == {0, 255}
    assert (face[lips > 0] > 0).all()
    inside, outside = picture[lips > 0].astype(int), picture[(face > 0) & (lips == 0)].astype(int)
    red = [(pixels[:, 0] - pixels[:, 1] > 80).mean() for pixels in (inside, outside)]
    assert red[0] > 10 * red[1]  # the lips are where their mask is


def test_the_couple_is_the_portrait_and_somebody_else():
    picture, masks = (np.asarray(Image.open(bundle.FOLDER / name)) for name in COUPLE)
    one, face, lips = (np.asarray(Image.open(bundle.FOLDER / name)) for name in PICTURES)
    assert np.array_equal(picture[:, :512], one)
    assert np.array_equal(masks[:, :512], np.stack([face, 0 * face, lips], 2))
    assert not masks[:, 512:, 0].any()
    assert (masks[:, 512:, 1] > 0)[masks[:, 512:, 2] > 0].all()
    other = picture[:, 512:].astype(int)
    assert (np.abs(other - one).max(2)[face == 0] > 40).mean() > 0.15  # hair and shirt


@pytest.mark.parametrize("look", portrait.COUPLE, ids=("usual", "another"))
def test_the_masks_span_what_moves_and_little_more(look):
    sitter = portrait.sitter(look)
    shut, *opened = (sitter.picture(pose).astype(int) for pose in (Pose(), Pose(1, -1), Pose(1), Pose(1, 1)))
    moves = np.max([np.abs(picture - shut).max(2) for picture in opened], 0) > 12
    skin = (shut == look.skin).all(2)
    for seen, box in ((moves, portrait.lip_box(look)), (skin, portrait.face_box(look))):
        found = around(np.argwhere(seen)[:, ::-1])
        assert found.within(box.inset(-1)) == found
        sides = (found.left - box.left, box.right - found.right, box.bottom - found.bottom)
        assert max(sides) < 10  # pixels; hair hides the top of a face


def test_the_couple_are_people_as_the_model_knows_them():
    known = [asdict(look_of(np.random.default_rng(number))) for number in range(1000)]
    for name, value in (item for look in portrait.COUPLE for item in asdict(look).items()):
        values = [look[name] for look in known]
        if isinstance(value, tuple):
            assert np.abs(np.array(values) - value).max(1).min() <= 16, name  # of 255
        elif isinstance(value, float):
            assert min(values) <= value <= max(values), name
        else:
            assert value in values


def test_the_speech_is_one_voice_of_a_few_seconds():
    with wave.open(str(bundle.FOLDER / "speech.wav")) as file:
        assert (file.getnchannels(), file.getframerate(), file.getsampwidth()) == (1, 22050, 2)
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16) / 32768
    assert 2 <= len(samples) / 22050 <= 6
    assert 0.2 < np.abs(samples).max() < 1
    assert np.abs(samples[:2205]).max() < 0.5 < 30 * samples.std()


def test_its_card_tells_how_it_is_made():
    """Programs and recipes are those of now, so whoever changes one looks at the card again."""
    card = " ".join((bundle.FOLDER / "README.md").read_text(encoding="utf-8").split())
    plan = model.Plan()
    people = dict(zip(plan.people[::2], plan.people[1::2], strict=True))
    assert f"{people['--people']} people are drawn" in card
    assert f"each says {people['--clips']} clips" in card
    assert f"{people['--others']} other people" in card
    assert f"{int(plan.decoder_steps):,} steps" in card
    assert f"{outcomes.PEOPLE} other drawn people" in card
    assert f"up to step {int(plan.retouching_steps):,}" in card
    first, second = (recipe.read_recipe(RECIPES / f"{name}.toml") for name in ("tiny1", "tiny2"))
    assert f"{first.steps:,} steps of {first.data.batch} pictures" in card
    assert f"{second.steps:,} steps of {second.data.batch} clips" in card
    assert f"clips of {second.data.frames} frames" in card
    with torch.device("meta"):
        weights = sum(parameter.numel() for parameter in Net(sizes(first.net)).parameters())
    assert f"{weights / 1e6:.1f} million weights" in card


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed, so nobody says anything")
@pytest.mark.slow
def test_all_of_it_is_made_from_nothing_once(tmp_path, monkeypatch):
    """By the real commands, in this process, next to nothing of each; asked again, they find that all is done."""
    monkeypatch.setattr(model, "run", run_here)
    monkeypatch.setattr(clip, "SECONDS", 1)  # test_clip.py draws the whole ones
    plan = model.Plan(
        people=("--people", "2", "--others", "1", "--clips", "1", "--size", "64", "--seconds", "1", "--workers", "0"),
        hearing=("--hours", "0.004", "--steps", "1", "--batch", "2", "--seconds", "1", "--workers", "0"),
        decoder_steps="1",
        outcomes=("--people", "2", "--frames", "24", "--size", "64"),
        retouching_steps="2",
        training=("steps=1", "data.batch=1", "data.workers=0"),
    )
    work, folder = tmp_path / "work", tmp_path / "bundle"
    model.make(plan, work, folder)
    made = times(work)
    engine, (talk,) = open_engine(folder, How(size=64, steps=1)), talks(1, 24, 64)
    assert engine.make(talk, talk.samples, (1, 1, 1), 42).shape == (24, 64, 64, 3)
    model.make(plan, work, folder)
    assert {path: time for path, time in times(work).items() if path in made} == made


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed, so nobody says anything")
@pytest.mark.slow
def test_outcomes_are_what_the_networks_leave_beside_what_was_drawn():
    engine, (talk,) = open_engine(bundle.FOLDER, How(size=64, steps=1)), outcomes.said(64, 1, 24)
    latents, pictures = outcomes.outcome(engine, talk, 7)
    film = engine.make(talk, talk.samples, (1, 1, 1), 7)
    assert np.abs(as_film(engine.codec.decode(latents.float()).movedim(1, -1)).astype(int) - film).max() <= 1  # halves
    found, lips = pictures.movedim(1, -1).numpy(), talk.gauge.where
    assert np.array_equal(found[:, lips], film[:, lips])
    assert np.array_equal(found[:, ~lips], talk.truth[:, ~lips])
    learnt, measured = outcomes.said(64, 20, 24), talks(20, 24, 64)  # the same dice would show in the first of them
    assert not {talk.text for talk in learnt} & {talk.text for talk in measured}
    assert not {talk.sitter.look for talk in learnt} & {talk.sitter.look for talk in measured}


def times(work: Path) -> dict[Path, int]:
    """When that was made which takes long."""
    parts = ("dataset/clips/*/*", "wav2vec2/*", "vae.safetensors", "runs/*/checkpoints/*/*")
    made = (path for part in parts for path in work.glob(part) if path.name != "record.json")
    return {path: path.stat().st_mtime_ns for path in made}


def run_here(module, *arguments):
    command = importlib.import_module("joyhallo.training.__main__" if module == "joyhallo.training" else module)
    assert command.main([str(argument) for argument in arguments]) == 0


def test_installing_the_pack_stays_quick():
    assert sum(file.stat().st_size for file in bundle.FOLDER.rglob("*") if file.is_file()) < 30e6
