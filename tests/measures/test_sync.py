"""Lip sync of whole films. The network here is a stand-in that sees one number in a picture and hears another in sound.

A picture's brightness, and the loudness of the sound that goes with it, follow the same random steps.
"""

import numpy as np
import pytest
import torch
from torch import nn

from joyhallo.measures.lipsync import SyncError
from joyhallo.measures.sync import delayed, rotated, score, watch
from joyhallo.sound.audio import Recording

WIDTH = 1024


class StandIn(nn.Module):
    """Ten windows' worth of numbers, spread over the features that the real one gives."""

    def __init__(self):
        super().__init__()
        self.spread = nn.Parameter(torch.randn(5, WIDTH, generator=torch.Generator().manual_seed(1)))
        self.calls = 0

    def see(self, windows):
        self.calls += 1
        return self._normed(windows.unflatten(1, (5, 3)).mean((2, 3, 4))) @ self.spread

    def hear(self, windows):
        """windows (n, 1, 13, 20): of each frame's four columns the first cepstrum, which is a logarithm."""
        return self._normed((windows[:, 0, 0].unflatten(1, (5, 4)).mean(2) / 2).exp()) @ self.spread

    @staticmethod
    def _normed(steps):
        return (steps - steps.mean(1, keepdim=True)) / steps.std(1, keepdim=True)


@pytest.fixture
def net():
    return StandIn().requires_grad_(False)


def film(frames: int, start: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures (n, 90, 120, 3), and int16 samples as long. Before `start` both are other ones."""
    steps = 20 + 200 * torch.rand(frames, generator=torch.Generator().manual_seed(frames))
    pictures = steps.byte()[:, None, None, None].expand(-1, 90, 120, 3).contiguous()
    tone = torch.sin(torch.arange(640 * frames) * 0.7)
    samples = 60 * steps.repeat_interleave(640) * tone
    return pictures, samples.round().to(torch.int16)


def boxes(frames: int) -> np.ndarray:
    return np.tile([40.0, 20, 80, 60], (frames, 1))


def lip_sync(pieces, boxes, samples, net):
    return score(watch(pieces, boxes, net), samples, net)


def test_a_film_and_its_sound_are_in_sync(net):
    pictures, samples = film(130)
    found = lip_sync(pictures.split(16), boxes(130), samples, net)
    assert (found.offset, found.windows) == (0, 125)
    assert found.curve.shape == (31,)
    assert found.framewise.shape == (125,)
    assert found.confidence > 5
    assert found.confidence == pytest.approx(found.median - found.distance, abs=1e-3)


def test_several_sounds_of_a_film_that_is_seen_once(net):
    pictures, samples = film(130)
    shown = watch(pictures.split(16), boxes(130), net)
    seen = net.calls
    own, late, early, other = (
        score(shown, sound, net)
        for sound in (samples, delayed(samples, 5), delayed(samples, -3), rotated(samples))
    )  # fmt: skip
    assert net.calls == seen
    assert [own.offset, late.offset, early.offset] == [0, -5, 3]
    assert other.overlap.confidence < 0.3 * own.overlap.confidence
    assert late.overlap.distance == pytest.approx(own.overlap.distance, rel=0.1)


def test_whole_frames(net):
    pictures, samples = film(50)
    assert watch(pictures.split(16), None, net).share == 1
    found = lip_sync(pictures.split(16), None, samples, net)
    assert (found.offset, found.windows) == (0, 45)


def test_recordings_are_heard_as_their_16_bits(net):
    pictures, samples = film(40)
    shown = watch(pictures.split(16), None, net)
    spoken = score(shown, Recording(samples.float() / 32768), net)
    assert spoken.distance == score(shown, samples, net).distance


def test_the_sound_of_a_stretch_begins_with_it(net):
    pictures, samples = film(160)
    seen = boxes(160)
    seen[:37] = np.nan
    shown = watch(pictures.split(16), seen, net)
    assert (shown.start, shown.frames, shown.share) == (37, 123, 123 / 160)
    found = score(shown, samples, net)
    assert (found.offset, found.windows) == (0, 118)
    assert lip_sync([pictures[37:]], boxes(123), samples[640 * 37 :], net).distance == pytest.approx(found.distance)


def test_the_shorter_of_both_counts(net):
    pictures, samples = film(60)
    shown = watch(pictures.split(16), None, net)
    assert score(shown, samples[: 640 * 30 + 300], net).windows == 25
    assert score(shown, torch.cat([samples, samples]), net).windows == 55
    with pytest.raises(SyncError, match="sound for 5"):
        score(shown, samples[: 640 * 6 - 1], net)


def test_a_film_without_a_window(net):
    pictures, samples = film(4)
    with pytest.raises(SyncError, match="the film has 4 that show the face, and sound for 4"):
        lip_sync([pictures], None, samples, net)


def test_nothing_is_read_after_the_face(net):
    pictures, _ = film(64)
    seen = boxes(64)
    seen[40:] = np.nan
    coming = iter(pictures.split(16))
    assert watch(coming, seen, net).frames == 40
    assert len(list(coming)) == 1


def test_steps_are_told_and_may_stop_the_work(net):
    pictures, _ = film(40)
    told = []
    watch(pictures.split(16), boxes(40), net, on_step=told.append)
    assert told == [16, 32, 40]

    def stop(frames):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        watch(pictures.split(16), boxes(40), net, on_step=stop)


def test_boxes_of_another_rate(net):
    pictures, _ = film(40)
    with pytest.raises(SyncError, match="The film has 40 frames, but a face is expected in its frame 47"):
        watch(pictures.split(16), boxes(48), net)


def test_nobody_in_the_film(net):
    pictures, _ = film(40)
    with pytest.raises(SyncError, match="The face is in no frame"):
        watch(pictures.split(16), np.full((40, 4), np.nan), net)


def test_delays_keep_the_length():
    samples = torch.arange(1, 2001)
    assert delayed(samples, 1).tolist() == [0] * 640 + list(range(1, 1361))
    assert delayed(samples, -2).tolist() == list(range(1281, 2001)) + [0] * 1280
    assert delayed(samples, 9).tolist() == delayed(samples, -9).tolist() == [0] * 2000
    assert rotated(samples).tolist() == [*range(1001, 2001), *range(1, 1001)]
