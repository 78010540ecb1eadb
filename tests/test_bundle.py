"""The small model that comes with the nodes: its files are what they say, and fit together."""

from __future__ import annotations

import wave

import numpy as np
from PIL import Image
from safetensors.torch import load_file

from demo import bundle
from joyhallo.checkpoint import load_checkpoint
from joyhallo.speech import load_encoder

MODELS = ("net.safetensors", "vae.safetensors", "wav2vec2/model.safetensors")
PICTURES = ("portrait.png", "face_mask.png", "lip_mask.png")
COUPLE = ("couple.png", "couple_masks.png")


def test_the_pictures_are_those_that_are_made_anew(tmp_path):
    bundle.write_pictures(tmp_path)
    for name in (*PICTURES, *COUPLE):
        assert np.array_equal(Image.open(bundle.FOLDER / name), Image.open(tmp_path / name)), name


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
    codec = load_file(bundle.FOLDER / "vae.safetensors")
    assert codec["decoder.conv_in.weight"].shape[1] == config.latent_channels
    assert sum("downsample" in key and key.endswith("weight") for key in codec) == 3  # 8 pixels a latent


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
    assert np.array_equal(masks[:, 512:], np.stack([0 * face, face[:, ::-1], lips[:, ::-1]], 2))
    other = picture[:, :511:-1].astype(int)
    assert (np.abs(other - one).max(2)[face == 0] > 40).mean() > 0.15  # hair and shirt


def test_the_speech_is_one_voice_of_a_few_seconds():
    with wave.open(str(bundle.FOLDER / "speech.wav")) as file:
        assert (file.getnchannels(), file.getframerate(), file.getsampwidth()) == (1, 22050, 2)
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16) / 32768
    assert 2 <= len(samples) / 22050 <= 6
    assert 0.2 < np.abs(samples).max() < 1
    assert np.abs(samples[:2205]).max() < 0.5 < 30 * samples.std()


def test_installing_the_pack_stays_quick():
    assert sum(file.stat().st_size for file in bundle.FOLDER.rglob("*") if file.is_file()) < 30e6
