"""The puppet's ear: what it tells of speech it never heard, of silence, and of the same sound recorded otherwise."""

import shutil

import numpy as np
import pytest
import torch

from joyhallo.config import FPS, SAMPLE_RATE
from joyhallo.drawn.voice import ENGLISH, MANDARIN
from joyhallo.files.contents import WeightsError
from joyhallo.methods.puppet import hearing
from joyhallo.methods.puppet.hearing import HEARD, Articulation, listen, open_ear
from joyhallo.sound import bands
from joyhallo.sound.audio import Recording, levels, video_frames
from joyhallo.training.small import ear_figures, takes
from joyhallo.training.small.hearing import room_tone

spoken_here = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")


MARKS = {
    MANDARIN: {"opening": 0.96, "spread": 0.92, "rounding": 0.92, "press": 0.96},
    ENGLISH: {"opening": 0.95, "spread": 0.95, "rounding": 0.94, "press": 0.95, "teeth": 0.9},
}


@pytest.fixture(scope="module")
def ear():
    return open_ear()


@pytest.fixture(scope="module")
def said() -> dict[str, list[takes.Take]]:
    """Words and voices outside training."""
    found = {}
    for name, english in ((MANDARIN, 0.0), (ENGLISH, 1.0)):
        found[name] = [takes.spoken(np.random.default_rng(seed), "validation", english) for seed in range(11, 19)]
    return found


def vowels(seconds: float = 6.0) -> torch.Tensor:
    """A voice that glides between i and a, with pauses."""
    times = torch.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    phase, pitch = 2 * torch.pi * (120 * times + 10 * torch.sin(3 * times)), 120 + 30 * torch.cos(3 * times)
    glide = 0.5 - 0.5 * torch.cos(2 * torch.pi * 2.3 * times)
    formants = (300 + 500 * glide, 120, 1.0), (2200 - 1000 * glide, 200, 0.5), (2700, 300, 0.2)
    sung = [
        strength * torch.exp(-(((k * pitch - middle) / width) ** 2)) * torch.sin(k * phase)
        for k in range(1, 30)
        for middle, width, strength in formants
    ]
    return 0.1 * sum(sung) * (torch.sin(5 * times) > -0.6)


def stacked(told: Articulation) -> torch.Tensor:
    return torch.stack([getattr(told, name) for name in HEARD], dim=1)


# ---- speech


@spoken_here
@pytest.mark.parametrize("language", [MANDARIN, ENGLISH])
def test_the_mouth_follows_words_and_voices_it_never_heard(ear, said, language):
    told = ear_figures.agreement(ear, [take.sound for take in said[language]], said[language])
    for name, mark in MARKS[language].items():
        assert told["correlation"][name] > mark, name
        assert abs(told["correlation, shuffled"][name]) < 0.25, name
    assert all(0.8 < span < 1.2 for span in told["range of opening and spread"])
    assert told["steepest jump"] < 1.5


@spoken_here
def test_lips_meet_in_every_b_p_and_m(ear, said):
    some = [take for language in (MANDARIN, ENGLISH) for take in said[language]]
    told = ear_figures.agreement(ear, [take.sound for take in some], some)
    assert sum(len(take.closures) for take in some) > 40
    assert told["closures"] >= 0.95
    assert told["shut where it should be open"] < 0.03


@spoken_here
def test_a_mouth_that_never_moves_or_never_shuts_is_found_out(said):
    some = said[ENGLISH]
    always = torch.full((sum(map(len, (take.mouth for take in some))), len(HEARD)), 0.4)
    assert ear_figures._closed(always, some) == 0
    assert ear_figures._closed(torch.cat([take.mouth for take in some]), some) == 1


# ---- silence


def test_the_mouth_is_shut_where_nothing_is_heard(ear):
    assert listen(ear, Recording(torch.zeros(3 * SAMPLE_RATE))).opening.max() < 0.03


@pytest.mark.parametrize("number", range(6))
def test_the_mouth_is_shut_in_room_tone(ear, number):
    sound = room_tone(3 * SAMPLE_RATE, np.random.default_rng(100 + number))
    assert listen(ear, Recording(sound)).opening.max() < 0.03


@spoken_here
def test_the_mouth_is_shut_in_a_long_pause(ear, said):
    take = said[MANDARIN][0]
    noise = 0.003 * torch.randn(4 * SAMPLE_RATE, generator=torch.Generator().manual_seed(0))
    told = listen(ear, Recording(torch.cat([take.sound, noise, take.sound])))
    first = len(take.mouth) + FPS // 2
    assert told.opening[first : first + 3 * FPS].max() < 0.03
    assert told.opening[:first].max() > 0.5


# ---- the same sound


def test_the_result_does_not_depend_on_where_sound_is_cut(ear):
    whole, cut = (stacked(listen(ear, Recording(vowels()), piece)) for piece in (1000, 37))
    assert whole.std(0).max() > 0.05
    assert torch.allclose(whole, cut, atol=1e-5)


@pytest.mark.parametrize("gain", [0.05, 0.3, 8.0])
def test_the_result_does_not_depend_on_how_loud_it_was_recorded(ear, gain):
    usual, other = (listen(ear, Recording(sound)) for sound in (vowels(), gain * vowels()))
    assert torch.allclose(stacked(usual), stacked(other), atol=1e-3)
    loud = usual.loudness > -40
    assert torch.allclose(
        other.loudness[loud] - usual.loudness[loud], torch.tensor(20 * np.log10(gain)).float(), atol=0.1
    )


def test_it_hears_the_same_again_and_a_frame_later_what_comes_a_frame_later(ear):
    first, again = (stacked(listen(ear, Recording(vowels()))) for _ in range(2))
    assert torch.equal(first, again)
    later = stacked(listen(ear, Recording(torch.cat([torch.zeros(SAMPLE_RATE // FPS), vowels()]))))
    assert torch.allclose(later[1:], first, atol=1e-4)


@pytest.mark.parametrize("samples", [1600, 4480, 4481, 16_000, 16_639, 40_000])
def test_there_is_a_number_for_each_frame(ear, samples):
    sound = vowels()[:samples]
    told = listen(ear, Recording(sound))
    assert len(told) == len(told.loudness) == video_frames(samples)
    assert torch.equal(told.loudness, levels(sound, len(told)))
    for name in HEARD:
        curve = getattr(told, name)
        assert curve.dtype == torch.float32
        assert curve.min() >= (-1 if name == "spread" else 0)
        assert curve.max() <= 1


def test_an_hour_is_heard_in_pieces(ear):
    sizes = []
    handle = ear.register_forward_pre_hook(lambda _, inputs: sizes.append(inputs[0].shape[1]))
    listen(ear, Recording(vowels(6).repeat(20)), piece=200)
    handle.remove()
    assert len(sizes) == 15
    assert max(sizes) == (200 + 2 * ear.reach) * bands.ROWS


# ---- spectra


def test_bands_are_those_of_transformers():
    utilities = pytest.importorskip("transformers.audio_utils")
    theirs = utilities.mel_filter_bank(
        257, bands.BANDS, bands.LOWEST_BAND, bands.HIGHEST_BAND, SAMPLE_RATE, None, "htk"
    )
    assert np.allclose(bands.bands().numpy(), theirs, atol=1e-5)


def test_spectra_lie_evenly_around_the_middle_of_each_frame():
    """A click is loudest in the two spectra beside the middle of its frame, and alike in both."""
    sound = torch.zeros(10 * 640)
    sound[4 * 640 + 320] = 1.0
    rows = bands.powers(bands.excerpt(sound, 0, 10)).sum(1)
    assert len(rows) == 10 * bands.ROWS
    assert set(rows.topk(2).indices.tolist()) == {17, 18}
    assert torch.allclose(rows[17], rows[18], rtol=0.05)


def test_the_power_of_noise_is_told_as_it_is():
    """White noise has the same power in each bin of the transform."""
    noise = 0.1 * torch.randn(SAMPLE_RATE * 20, generator=torch.Generator().manual_seed(1))
    found = bands.powers(bands.excerpt(noise, 0, 500)).mean(0)
    assert torch.allclose(found, 0.01 / bands.BINS * bands.bands().sum(0), rtol=0.1)


# ---- files


def test_the_bundled_ear_is_small():
    assert hearing.BUNDLED.stat().st_size < 2e6


def test_another_file_is_refused_in_words(tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / "other.safetensors"
    save_file({"conv.weight": torch.zeros(3)}, path)
    with pytest.raises(WeightsError, match=r"other.safetensors looks like .*; expected an ear of the puppet"):
        open_ear(path)
    with pytest.raises(WeightsError, match="does not exist"):
        open_ear(tmp_path / "none.safetensors")
