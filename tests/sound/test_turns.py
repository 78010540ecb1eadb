import numpy as np
import pytest
import torch

from joyhallo.sound.audio import AudioError
from joyhallo.sound.turns import TurnsError, divided, in_turn, read_turns, together

RATE = 8000


def noise(seconds: float, channels: int = 1, seed: int = 0) -> torch.Tensor:
    drawn = torch.randn(channels, round(seconds * RATE), generator=torch.Generator().manual_seed(seed))
    return (0.2 * drawn).clamp(-0.9, 0.9)


def spoken(turns) -> list[tuple[int, float, float]]:
    return [(turn.speaker, turn.start, turn.end) for turn in turns]


# ---- what is written


@pytest.mark.parametrize(
    "text",
    [
        "1: 0-3.2, 2: 3.2-7, 1: 7-",
        "1:0-3.2;2:3.2-7s\n1: 0:07-0:10",
        "１：０－３．２，２：３．２～７；１：７秒至",
        "1: 0 – 3.2, 2: 3.2 — 0:07、1: 7 - 10.05",
    ],
)
def test_turns_are_read(text):
    assert spoken(read_turns(text, 10)) == [(1, 0, 3.2), (2, 3.2, 7), (1, 7, 10)]


def test_both_may_speak_at_once():
    assert spoken(read_turns("2: 1-3, 1: 0-2", 3)) == [(2, 1, 3), (1, 0, 2)]


def test_turns_of_one_speaker_may_meet():
    assert spoken(read_turns("1: 0-1, 1: 1-2, 2: 2-3", 3)) == [(1, 0, 1), (1, 1, 2), (2, 2, 3)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "There are no turns.*as in 1: 0-3.2"),
        (" ,;\n", "There are no turns"),
        ("1: 0-5", "Speaker 2 has no turn.*as in"),
        ("2: 0-5", "Speaker 1 has no turn"),
        ("1: 0-4, 2: 4-6, 1: 3-5", "turns 1: 0-4 and 1: 3-5 of the same speaker overlap"),
        ("1: 0-, 2: 4-6, 1: 8-", "turns 1: 0-10 and 1: 8-10"),
        ("1: 0-4, 2: 6-5", "'2: 6-5' ends before"),
        ("1: 0-4, 2: 6-6", "'2: 6-6' ends before"),
        ("1: 0-4, 2: 4-12", r"'2: 4-12' reaches beyond the recording, which ends at 10.00 s"),
        ("1: 0-4, 2: 10-", "'2: 10-' reaches beyond"),
        ("1: 0-4, 3: 4-", "no speaker 3"),
        ("1: 0-4, 2: then", "'2: then' is not understood.*as in"),
        ("1: -4, 2: 4-", "'1: -4' is not understood"),
        ("1: 0-4, 4-6", "'4-6' is not understood"),
        ("left: 0-4", "'left: 0-4' is not understood"),
    ],
)
def test_turns_that_cannot_be_are_named(text, words):
    with pytest.raises(TurnsError, match=words):
        read_turns(text, 10)


# ---- one recording


@pytest.mark.parametrize("channels", [1, 2])
def test_each_is_silent_while_the_other_speaks(channels):
    sound = noise(4, channels)
    found = divided((sound[None], RATE), "1: 0-1, 2: 1-2.5, 1: 3-")
    fade = round(0.01 * RATE)
    assert found.rate == RATE
    assert torch.equal(found.both, sound)
    for track, turns in ((found.first, [(0, 1), (3, 4)]), (found.second, [(1, 2.5)])):
        assert track.shape == sound.shape
        heard = np.zeros(sound.shape[1], bool)
        for start, end in turns:
            start, end = int(start * RATE), int(end * RATE)
            heard[start:end] = True
            inner = slice(start + fade if start else 0, end - fade if end < len(heard) else None)
            assert torch.equal(track[:, inner], sound[:, inner])
        assert (track[:, ~heard] == 0).all()
    cut = (found.first[0] / sound[0])[RATE - fade : RATE].nan_to_num(0)
    assert (cut.diff() < 0).all()
    assert cut[0] > 0.95
    assert cut[-1] < 0.05


def test_a_turn_shorter_than_its_fades_is_still_heard():
    sound = torch.ones(1, RATE)
    found = divided((sound, RATE), "1: 0.5-0.505, 2: 0.6-")
    assert 0 < found.first.max() < 1
    assert found.first[0, RATE // 2 : RATE // 2 + 40].gt(0).all()


def test_cuts_are_at_the_nearest_sample_and_fade_evenly():
    found = divided((torch.ones(1, 2 * RATE), RATE), "1: 0-1.0007, 2: 1.0007-")
    cut, fade = 8006, 80  # 1.0007 s are 8005.6 samples, 0.01 s are 80
    falling = (np.arange(fade)[::-1] + 0.5) / fade
    expected = [*np.ones(cut - fade), *falling, *np.zeros(2 * RATE - cut)]
    assert np.allclose(found.first[0], expected, atol=1e-6)
    expected = [*np.zeros(cut), *falling[::-1], *np.ones(2 * RATE - cut - fade)]
    assert np.allclose(found.second[0], expected, atol=1e-6)


# ---- two recordings


def test_two_at_the_same_time_last_as_long_as_the_longer():
    one, other = noise(1), noise(1.5, seed=1)
    found = together((one, RATE), (other, RATE))
    assert torch.equal(found.first, torch.cat([one, torch.zeros(1, RATE // 2)], 1))
    assert torch.equal(found.second, other)
    mixed = found.first.numpy() + other.numpy()
    assert np.allclose(found.both.numpy(), mixed / max(1, np.abs(mixed).max()), atol=1e-7)
    assert found.both.abs().max() <= 1


def test_two_one_after_the_other():
    one, other = noise(1), noise(1.5, seed=1)
    found = in_turn((one, RATE), (other, RATE))
    assert torch.equal(found.both, torch.cat([one, other], 1))
    assert torch.equal(found.first, torch.cat([one, torch.zeros_like(other)], 1))
    assert torch.equal(found.second, torch.cat([torch.zeros_like(one), other], 1))


def test_rates_and_channels_are_brought_together():
    soxr = pytest.importorskip("soxr")
    slow, fast = noise(1), torch.randn(2, 16_000, generator=torch.Generator().manual_seed(2)).clamp(-1, 1) * 0.1
    found = in_turn((slow, RATE), (fast, 16_000))
    assert (found.rate, found.first.shape, found.both.shape) == (16_000, (2, 32_000), (2, 32_000))
    assert torch.equal(found.second[:, 16_000:], fast)
    expected = soxr.resample(slow[0].numpy(), RATE, 16_000, quality="HQ")
    assert np.allclose(found.first[1, :16_000].numpy(), expected, atol=1e-4)
    mixed = in_turn((noise(1, 2), RATE), (noise(1, 3), RATE))
    assert torch.equal(mixed.first[:, :RATE], noise(1, 2).mean(0, keepdim=True))


def test_what_is_no_sound_is_said():
    with pytest.raises(AudioError, match="empty"):
        together((noise(1), RATE), (torch.zeros(1, 0), RATE))
    with pytest.raises(AudioError, match="sample rate"):
        divided((noise(1), 0), "1: 0-0.5, 2: 0.5-")
