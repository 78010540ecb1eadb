"""Whatever sound comes in: a result that fits together, or one of our own errors."""

import logging

import pytest
import torch
from parity_speech import seeded_encoder

from joyhallo.sound.audio import AudioError, prepare
from joyhallo.sound.loudness import levelled, loudness
from joyhallo.sound.vocals import Separator, hear
from joyhallo.sound.wav2vec2 import encode

pytestmark = pytest.mark.slow

hypothesis = pytest.importorskip("hypothesis")
pytest.importorskip("transformers")
st = hypothesis.strategies

SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "conv_dim": [8] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}

USUAL = st.sampled_from([8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000])
RATES = st.one_of(USUAL, USUAL, USUAL, st.integers(1_000, 50_000), st.integers(-10, 200_000), st.floats())


@st.composite
def waveforms(draw):
    """Of any kind, channel count, length and loudness; some with what does not belong in sound."""
    samples = draw(st.sampled_from([0, 1, 399, 800, 1_600, *range(4_411, 60_000, 1_237)]))
    before = draw(st.sampled_from([(), (1,), (1,), (2,), (2,), (6,), (1, 2), (3, 1)]))
    seed = draw(st.integers(0, 99))
    amplitude = draw(st.sampled_from([0.0, 1e-38, 1e-8, 1e-3, 0.1, 1.0, 30.0, 3e4, 2e9, 1e38]))
    wave = amplitude * torch.randn((*before, samples), generator=torch.Generator().manual_seed(seed))
    if samples and not draw(st.integers(0, 3)):
        wave[..., draw(st.integers(0, samples - 1))] = draw(st.sampled_from([float("nan"), float("inf"), 0.0, 1.0]))
    dtypes = [torch.float32, torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int16]
    return wave.to(draw(st.sampled_from(dtypes)))


@pytest.fixture(scope="module", autouse=True)
def _quiet():
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="module")
def encoders():
    return [seeded_encoder(SIZES, normalize=normalize) for normalize in (False, True)]


@hypothesis.settings(max_examples=150, deadline=None, database=None, derandomize=True)
@hypothesis.given(wave=waveforms(), rate=RATES, normalize=st.booleans(), clip=st.integers(1, 20))
def test_any_sound_is_encoded_or_refused(encoders, wave, rate, normalize, clip):
    try:
        recording = prepare(wave, rate)
    except AudioError:
        return
    assert abs(recording.seconds - wave.shape[-1] / rate) <= 1 / 16_000
    assert torch.isfinite(recording.samples).all()
    speech = encode(encoders[normalize], recording, clip)
    assert speech.length == recording.frames
    assert speech.rows % clip == 0
    assert 0 <= speech.rows - speech.length < clip
    windows = speech.windows()
    assert windows.shape == (speech.rows, 5, 1, 16)
    assert torch.isfinite(windows).all()


@hypothesis.settings(max_examples=25, deadline=None, database=None, derandomize=True)
@hypothesis.given(wave=waveforms(), rate=RATES, mode=st.sampled_from(["off", "on", "auto"]))
def test_any_sound_is_separated_and_levelled_or_refused(wave, rate, mode):
    try:
        recording = hear(wave, rate, mode, Separator("half", lambda spectrum: spectrum / 2))
    except AudioError:
        return
    assert abs(recording.seconds - wave.shape[-1] / rate) <= 2 / 16_000
    assert torch.isfinite(levelled(recording).samples).all()
    assert loudness(recording.samples) < 300
