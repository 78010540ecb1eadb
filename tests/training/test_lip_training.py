"""The lip reader is trained: its films show and say the same, a run continues as if never stopped, the file is read."""

import json
import shutil
from functools import partial

import numpy as np
import pytest
import torch

from joyhallo.drawn.voice import MANDARIN
from joyhallo.measures.lip_reader import COLUMNS_SEEN, FURTHEST, ROWS_SEEN, open_lip_reader
from joyhallo.sound.bands import BANDS, ROWS
from joyhallo.training.small import lip_films, lip_reader, lip_sights
from joyhallo.training.small.lip_films import LipFilm, LipFilms, filmed
from joyhallo.training.small.lip_reader import LipTraining, by_lag
from joyhallo.training.small.lip_sights import filmed_again

TINY = LipTraining(hours=0.01, steps=4, batch=2, seconds=1.4)
SEEN = (ROWS_SEEN * 11 // 8, COLUMNS_SEEN * 11 // 8)
spoken_here = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed: nobody speaks")


@pytest.fixture(scope="module")
def films() -> list[LipFilm]:
    """A bar that grows with what is heard."""
    dice = torch.Generator().manual_seed(0)
    made = []
    for _ in range(3):
        opening = torch.rand(80, generator=dice)
        bar = (torch.arange(SEEN[0]) < SEEN[0] * opening[:, None]).float() * 200
        crops = bar[..., None].expand(-1, -1, SEEN[1]).byte().contiguous()
        powers = -7 + 3 * opening.repeat_interleave(ROWS)[:, None] + 0.1 * torch.randn(320, BANDS, generator=dice)
        made.append(LipFilm(crops, powers.half(), opening))
    return made


# ---- films


@spoken_here
def test_a_film_shows_a_mouth_that_is_dark_while_it_is_open():
    """Openings and the darkness where the lips are go together; so do loudness and openings."""
    film = next(
        film for seed in range(9) if (film := filmed(np.random.default_rng(seed), 0.0, ())).crops.float().std() > 20
    )
    assert film.crops.shape == (300, *SEEN)
    assert film.powers.shape == (1200, BANDS)
    middle = film.crops[:, 20:45, 34:54].float().mean((1, 2))
    assert np.corrcoef(middle, film.opening)[0, 1] < -0.7
    loud = film.powers.float().unflatten(0, (300, ROWS)).exp().mean((1, 2))
    assert np.corrcoef(loud, film.opening)[0, 1] > 0.3


@spoken_here
def test_films_are_made_once_and_are_those_of_their_seed(tmp_path, monkeypatch):
    monkeypatch.setattr(lip_films, "SECONDS", 2.0)
    first = LipFilms(0, 0.0, tmp_path / "a").films(2)
    again = LipFilms(0, 0.0, tmp_path / "b").films(1)
    assert torch.equal(first[0].crops, again[0].crops)
    assert torch.equal(first[0].powers, again[0].powers)
    assert not torch.equal(first[0].powers, first[1].powers)
    monkeypatch.setattr(lip_films, "filmed", None)  # nothing is made again
    assert torch.equal(LipFilms(0, 0.0, tmp_path / "a").films(2)[1].crops, first[1].crops)


@spoken_here
def test_nobody_says_words_or_has_voices_of_validation():
    said = lip_films.speech(np.random.default_rng(0), "train", 0.0, 2.0)
    assert said.manner.voice.startswith(MANDARIN)
    assert not said.manner.voice.endswith(("+m3", "+f3"))


# ---- sights


def quiet(monkeypatch):
    for name in ("ZOOM", "ASPECT", "TURN", "OFF", "SWAY", "TREMBLE", "GAMMA", "CONTRAST", "BRIGHTNESS", "SLOPE"):
        monkeypatch.setattr(lip_sights, name, 0.0)
    for name in ("BLURRED", "COARSE", "NOISY"):
        monkeypatch.setattr(lip_sights, name, 0.0)
    monkeypatch.setattr(lip_sights, "FOLLOWING", (0.0, 0.0))


def test_without_any_trouble_a_crop_is_the_middle_or_its_mirror_image(monkeypatch):
    quiet(monkeypatch)
    wide = torch.randint(1, 256, (6, 3, *SEEN), dtype=torch.uint8)
    seen = filmed_again(wide, torch.rand(6, 3), np.random.default_rng(0))
    middle = wide[..., 9:-9, 12:-12].float() / 255
    straight = [bool(torch.allclose(*pair, atol=1e-5)) for pair in zip(seen, middle, strict=True)]
    mirrored = [bool(torch.allclose(*pair, atol=1e-5)) for pair in zip(seen, middle.flip(-1), strict=True)]
    assert all(one != other for one, other in zip(straight, mirrored, strict=True))
    assert any(straight)
    assert any(mirrored)


@pytest.mark.parametrize("trouble", ["BLURRED", "COARSE", "NOISY"])
def test_each_trouble_changes_what_is_seen(monkeypatch, trouble):
    quiet(monkeypatch)
    wide = torch.randint(1, 256, (1, 3, *SEEN), dtype=torch.uint8)
    clear = filmed_again(wide, torch.rand(1, 3), np.random.default_rng(1))
    monkeypatch.setattr(lip_sights, trouble, 1.0)
    seen = filmed_again(wide, torch.rand(1, 3), np.random.default_rng(1))
    assert seen.min() >= 0
    assert seen.max() <= 1
    rough = [picture.diff(dim=-1).abs().mean() for picture in (seen, clear)]
    assert rough[0] != rough[1]
    assert (rough[0] > rough[1]) == (trouble == "NOISY")


# ---- learning


def test_lags_are_those_of_plain_loops():
    cosines = torch.rand(2, 33, 33)
    found = by_lag(cosines)
    for lag in (-15, -2, 0, 1, 15):
        plain = [[float(one[i, i - lag]) for i in range(33) if 0 <= i - lag < 33] for one in cosines]
        assert np.allclose(found[:, FURTHEST + lag].numpy(), np.mean(plain, axis=1), atol=1e-6)


def test_a_step_sees_the_same_again_and_another_step_something_else(films):
    played = torch.rand(1000, BANDS) * 1e-4
    first, again, other = (lip_reader.batch(films, played, TINY, step) for step in (3, 3, 4))
    assert torch.equal(first.crops, again.crops)
    assert torch.equal(first.sound, again.sound)
    assert not torch.equal(first.crops, other.crops)
    assert first.crops.shape == (2, 35, ROWS_SEEN, COLUMNS_SEEN)
    assert first.sound.shape == (2, 140, BANDS)


def test_it_learns(films, tmp_path, monkeypatch):
    monkeypatch.setattr(lip_reader, "KEPT", 15)
    quiet(monkeypatch)
    lines: list[float] = []
    settings = LipTraining(hours=0.01, steps=45, batch=2, seconds=1.4)
    lip_reader.train(settings, films, tmp_path / "kept.training", lambda _, each: lines.append(each.sum().item()))
    assert len(lines) == 3
    assert lines[-1] < 0.75 * lines[0]


def test_a_stopped_run_continues_as_if_it_had_not_been(films, tmp_path, monkeypatch):
    monkeypatch.setattr(lip_reader, "KEPT", 2)

    def stop(step: int, _: object) -> None:
        if step == 2:
            raise KeyboardInterrupt

    whole = lip_reader.train(TINY, films, tmp_path / "whole.training").state_dict()
    with pytest.raises(KeyboardInterrupt):
        lip_reader.train(TINY, films, tmp_path / "stopped.training", stop)
    resumed = lip_reader.train(TINY, films, tmp_path / "stopped.training").state_dict()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    with pytest.raises(ValueError, match="other settings; delete it"):
        lip_reader.train(LipTraining(hours=0.01, steps=5, batch=2, seconds=1.4), films, tmp_path / "stopped.training")


def test_where_nobody_speaks_nothing_is_learnt(films, monkeypatch):
    played = torch.rand(1000, BANDS) * 1e-4
    monkeypatch.setattr(lip_reader.rooms, "QUIET", 1.0)
    batch = lip_reader.batch(films, played, TINY, 0)
    assert not batch.speaking.any()
    losses = lip_reader.Judge()(batch)
    assert losses.tolist() == [0, 0, 0]


# ---- the command


@spoken_here
def test_the_command_films_trains_and_writes(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(lip_reader, "TALKS", 2)
    monkeypatch.setattr(lip_reader, "measured", partial(lip_reader.measured, seconds=2.0))
    path = tmp_path / "reader.safetensors"
    options = ["--hours", "0.004", "--steps", "2", "--batch", "2", "--seconds", "1.4", "--workers", "0"]
    assert lip_reader.main(["-o", str(path), *options, "--cache", str(tmp_path / "cache")]) == 0
    assert "2 of 2" in capsys.readouterr().out
    told = json.loads(path.with_suffix(".json").read_text())
    assert LipTraining(**told["settings"]) == LipTraining(hours=0.004, steps=2, batch=2, seconds=1.4)
    assert 0 <= told["figures"]["drawn people"]["offsets found"] <= 1
    assert not path.with_suffix(".training").exists()
    assert open_lip_reader(path).parameters < 1e6


@pytest.mark.parametrize("changes", [{"steps": 0}, {"hours": 0.0}, {"seconds": 12.5}, {"seconds": 1.0}])
def test_settings_that_cannot_be_are_refused(changes):
    with pytest.raises(ValueError, match=r"Give at least one step of one piece, of 1.36 to 12 seconds"):
        LipTraining(**changes)
