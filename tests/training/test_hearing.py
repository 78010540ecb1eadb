"""A tiny wav2vec2 learns to hear: what it is told is true, it learns, and others read what it writes."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from joyhallo.drawn import espeak, mouths
from joyhallo.sound.audio import Recording
from joyhallo.sound.wav2vec2 import encode, load_encoder
from joyhallo.training.small import hearing
from joyhallo.training.small.hearing import HearingTraining, Take
from joyhallo.training.small.probe import Heard, Probe

pytestmark = pytest.mark.slow

transformers = pytest.importorskip("transformers")

FEW = HearingTraining(hours=0.01, steps=24, batch=4, seconds=1.0, learning_rate=5e-3)


def hum(number: int) -> Take:
    """The wider the mouth, the higher the tone; how loud it is says nothing."""
    dice = np.random.default_rng(number)
    opening = np.interp(np.arange(300), np.arange(0, 309, 9), dice.random(35))
    pitch = 200 + 1800 * np.repeat(opening, 640)
    samples = 0.2 * np.sin(np.cumsum(pitch) * 2 * np.pi / 16_000)
    viseme = np.where(opening > 0.5, mouths.VISEMES.index("open"), mouths.VISEMES.index("consonant"))
    return Take(
        samples.astype(np.float16),
        mouths.Motion(opening.astype(np.float32), np.zeros(len(opening), np.float32), viseme.astype(np.uint8)),
    )


@pytest.fixture(scope="module")
def hums() -> list[Take]:
    return [hum(number) for number in range(3)]


@pytest.fixture(scope="module")
def trained(hums):
    lines: list[float] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hearing, "EVERY", 4)
        encoder = hearing.train(FEW, hums, lambda step, each: lines.append(each.sum().item()))
    return encoder, lines


# ---- what it is told


class Loaded(np.random.Generator):
    """Dice that fall as they are told."""

    def __init__(self, *falls: float):
        super().__init__(np.random.PCG64(0))
        self.falls = list(falls)

    def uniform(self, *_):
        return self.falls.pop(0)


def test_an_excerpt_at_its_own_speed_is_what_was_said(hums):
    sound, motion = hearing.excerpt(hums[0], 30, Loaded(1.0, 50.0))
    assert np.allclose(sound, hums[0].samples[50 * 640 : 80 * 640].astype(np.float32))
    for name in ("opening", "spread", "viseme"):
        assert np.array_equal(getattr(motion, name), getattr(hums[0].motion, name)[50:80]), name


@pytest.mark.parametrize("speed", [0.9, 1.1])
def test_sound_and_mouth_stay_together_at_another_speed(hums, speed):
    """The pitch, counted by zero crossings, tells the opening as it does in the hum; only higher or lower."""
    sound, motion = hearing.excerpt(hums[1], 100, Loaded(speed, 20.0))
    crossings = np.abs(np.diff(np.sign(sound.numpy().reshape(100, 640)), axis=1)).sum(1) / 2 / (640 / 16_000) / 2
    told = 200 + 1800 * motion.opening
    assert np.abs(crossings / speed - told).max() < 120  # Hz: the opening moves within a frame
    assert np.corrcoef(crossings, motion.opening)[0, 1] > 0.99


def test_a_step_hears_the_same_again_and_another_step_something_else(hums):
    first, again, other = (hearing.batch(hums, FEW, step) for step in (3, 3, 4))
    assert torch.equal(first.sounds, again.sounds)
    assert torch.equal(first.numbers, again.numbers)
    assert not torch.equal(first.sounds, other.sounds)
    assert first.sounds.shape == (4, 16_000)
    assert first.numbers.shape == (4, 25, 3)
    assert first.visemes.shape == (4, 25)


def test_where_nobody_speaks_the_mouth_is_shut(hums, monkeypatch):
    monkeypatch.setattr(hearing, "QUIET", 1.0)
    heard = hearing.batch(hums, replace(FEW, batch=30), 0)
    assert not heard.numbers[..., :2].any()
    assert not heard.visemes.any()
    loudness = 20 * heard.sounds.square().mean(1).sqrt().clamp(min=1e-9).log10()
    assert (loudness <= hearing.LOUDEST_NOISE + 0.1).all()
    assert 3 <= (loudness < -150).sum() <= 20  # nothing at all is heard, too


def test_loudness_is_that_of_the_frame(hums):
    heard = hearing.batch(hums, FEW, 1)
    rms = heard.sounds.reshape(4, 25, 640).square().mean(-1).sqrt()
    assert torch.allclose(heard.numbers[..., 2], (20 * rms.clamp(min=1e-4).log10()) / 20 + 2, atol=1e-4)


# ---- learning


def test_it_learns(trained):
    _, lines = trained
    assert len(lines) == 6
    assert lines[-1] < 0.6 * lines[0]


def test_the_losses_are_torchs_own(hums):
    heard = hearing.batch(hums, FEW, 0)
    told = torch.randn(4, 25, 11, generator=torch.Generator().manual_seed(0))
    found = hearing.losses(iter([told, 0 * told]), heard)
    expected = 0.3 * F.cross_entropy(told[..., 3:].transpose(1, 2), heard.visemes)
    for place, weight in enumerate(hearing.WEIGHTS.tolist()):
        expected += weight * F.mse_loss(told[..., place], heard.numbers[..., place])
    assert found.shape == (2,)
    assert torch.allclose(found[0], expected)


def test_all_weights_that_speech_goes_through_are_trained(trained):
    kept, begun = trained[0].model.state_dict(), hearing.network(FEW).state_dict()
    assert [name for name in kept if torch.equal(kept[name], begun[name])] == ["masked_spec_embed"]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(hums):
    short, states = replace(FEW, steps=2), []
    for number, settings in enumerate((short, short, replace(short, seed=1))):
        torch.manual_seed(number)
        before = torch.random.get_rng_state()
        states.append(hearing.train(settings, hums).model.state_dict())
        assert torch.equal(torch.random.get_rng_state(), before)
    first, again, other = states
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert sum(not torch.equal(first[name], other[name]) for name in first) > 0.5 * len(first)


# ---- what it writes


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
    place = tmp_path_factory.mktemp("hearing") / "wav2vec2"
    hearing.write(place, trained[0], FEW, {"plain": {"correlation": 0.5}})
    return place


def test_the_folder_is_what_transformers_reads(folder, trained):
    theirs, notes = transformers.AutoModel.from_pretrained(folder, local_files_only=True, output_loading_info=True)
    assert not any(notes.values())
    ours, kept = load_encoder(folder), trained[0].model.state_dict()
    assert not ours.normalize
    for model in (ours.model, theirs):
        assert all(torch.equal(tensor, kept[name]) for name, tensor in model.state_dict().items())
    told = transformers.AutoFeatureExtractor.from_pretrained(folder, local_files_only=True)
    assert (told.do_normalize, told.sampling_rate) == (False, 16_000)

    sound = 0.1 * torch.randn(64 * 640, generator=torch.Generator().manual_seed(0))
    found = encode(ours, Recording(sound)).features()
    with torch.no_grad():
        convolved = theirs.eval().feature_extractor(sound[None])
        rows = F.interpolate(convolved, size=64, mode="linear", align_corners=True).transpose(1, 2)
        state, _ = theirs.feature_projection(rows)
        state = theirs.encoder.layer_norm(state + theirs.encoder.pos_conv_embed(state))
        for number, layer in enumerate(theirs.encoder.layers):
            state = layer(state)
            state = state[0] if isinstance(state, tuple) else state
            assert torch.allclose(found[:, number], state[0], atol=1e-5)


def test_the_folder_is_small_and_says_how_well_it_hears(folder):
    assert sum(path.stat().st_size for path in folder.iterdir()) < 1.5e6
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "hearing.json",
        "model.safetensors",
        "preprocessor_config.json",
    ]
    told = json.loads((folder / "hearing.json").read_text())
    assert HearingTraining(**told["settings"]) == FEW
    assert told["figures"]["plain"]["correlation"] == 0.5


def test_what_is_heard_does_not_depend_on_what_else_is_in_the_recording(folder):
    """Up to the transformer: a loud noise afterwards changes nothing of what came before."""
    model = load_encoder(folder).model
    sound = 0.05 * torch.randn(16_000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        longer = torch.cat([sound, 9 * sound])
        alone, followed = (model.feature_extractor(some[None])[..., :49] for some in (sound, longer))
    assert torch.allclose(alone, followed, atol=1e-5)


# ---- how it is judged


def test_the_probe_is_the_least_squares_solution_where_nothing_is_penalised(monkeypatch):
    from joyhallo.training.small import probe

    monkeypatch.setattr(probe, "RIDGE", 0.0)
    dice = np.random.default_rng(0)
    features, viseme = dice.standard_normal((500, 6)) * 3 + 1, dice.integers(8, size=500)
    opening = features @ dice.standard_normal(6) + 0.3 + dice.standard_normal(500)
    found, _ = Probe.fitted(Heard(features, opening, viseme, np.zeros((500, 2))))(features)
    x = np.column_stack([features, np.ones(500)])
    assert np.allclose(found, x @ np.linalg.lstsq(x, opening, rcond=None)[0], atol=1e-4)


def test_who_merely_hears_loudness_is_found_out(hums):
    """Features that are loudness alone correlate with an opening that goes with it, but not given loudness."""
    dice = np.random.default_rng(1)
    loudness = dice.random((2000, 2))
    opening = loudness[:, 0] + 0.3 * dice.standard_normal(2000)
    heard = Heard(loudness, opening, np.zeros(2000, np.int64), loudness)
    found = hearing._agreement(Probe.fitted(heard), heard)
    assert found["correlation"] > 0.6
    assert abs(found["correlation given loudness"]) < 0.1


# ---- the command


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed, so nobody speaks")
def test_the_command_speaks_trains_and_writes(tmp_path, capsys):
    place = tmp_path / "ear"
    options = ["--hours", "0.004", "--steps", "3", "--batch", "2", "--seconds", "1", "--workers", "2"]
    assert hearing.main(["-o", str(place), *options]) == 0
    said = capsys.readouterr().out
    assert "3 of 3" in said
    found = json.loads((place / "hearing.json").read_text())["figures"]
    assert -1 <= found["plain"]["correlation"] <= 1
    assert 0 < found["opening in speech"] < 1
    assert encode(load_encoder(place), Recording(torch.zeros(16_000)), multiple=1).features().shape == (25, 4, 64)


def test_a_machine_without_espeak_is_told_how_to_get_it(monkeypatch, tmp_path, capsys):
    """Another program stands in for the one that finds no library; its exit code is the real one's."""
    program = tmp_path / "espeak.py"
    program.write_text(
        Path(espeak.__file__).read_text().replace("libespeak-ng", "libnowhere").replace('"espeak-ng"', '"nowhere"')
    )
    monkeypatch.setattr(espeak, "__file__", str(program))
    assert hearing.main(["-o", str(tmp_path / "ear")]) == 2
    assert "needs espeak-ng, which is not installed; install it with: apt-get" in capsys.readouterr().err
    assert not (tmp_path / "ear").exists()


@pytest.mark.parametrize("changes", [{"steps": 0}, {"hours": 0.0}, {"seconds": 11.0}, {"seconds": 0.1}])
def test_settings_that_cannot_be_are_refused(changes):
    with pytest.raises(ValueError, match=r"Give at least one step of one crop, of 0.5 to 10 seconds"):
        HearingTraining(**changes)
