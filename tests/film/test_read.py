"""Videos are read back as they were written, however they are taken."""

import io

import av
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from joyhallo.film.read import Reel, facts, frames, read_sound
from joyhallo.film.write import COPY, VideoError, write


def clip(count: int = 21, height: int = 36, width: int = 50) -> torch.Tensor:
    """(count, height, width, 3) of 8 bits, as noisy as can be"""
    return torch.randint(0, 256, (count, height, width, 3), generator=torch.Generator().manual_seed(1)) / 255


def tone(seconds: float, rate: int = 22_050) -> tuple[torch.Tensor, int]:
    time = torch.arange(round(seconds * rate)) / rate
    return torch.stack([0.5 * torch.sin(2 * torch.pi * 440 * time), 0.1 * torch.sin(2 * torch.pi * 220 * time)]), rate


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    return write(tmp_path_factory.mktemp("copy") / "copy.mkv", clip().split(5), 25, tone(0.84), COPY)


def test_a_working_copy_loses_nothing(copy):
    assert torch.equal(torch.cat(list(frames(copy))), clip())
    with av.open(str(copy)) as file:  # the same by FFmpeg's own way to RGB
        decoded = np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])
    assert np.array_equal(decoded, (clip() * 255).round().byte().numpy())


def test_a_working_copy_of_odd_sides(tmp_path):
    odd = clip(3, 35, 51)
    assert torch.equal(torch.cat(list(frames(write(tmp_path / "odd.mkv", [odd], 25, None, COPY)))), odd)


def test_its_sound_is_as_it_was(copy):
    sound, rate = tone(0.84)
    found, found_rate = read_sound(copy)
    assert found_rate == rate
    torch.testing.assert_close(found, sound, rtol=0, atol=2**-23)


def test_facts(copy):
    known = facts(copy)
    assert (known.width, known.height, known.rate, known.count) == (50, 36, 25, 21)


def test_a_file_in_memory(copy):
    assert torch.equal(torch.cat(list(frames(io.BytesIO(copy.read_bytes())))), clip())


@pytest.mark.parametrize("at_once", [1, 4, 21, 100])
def test_batches(copy, at_once):
    sizes = [len(batch) for batch in frames(copy, at_once)]
    assert sum(sizes) == 21
    assert set(sizes[:-1]) <= {at_once}


def test_ordinary_videos(tmp_path):
    smooth = F.interpolate(clip(6, 4, 6).movedim(-1, 1), (32, 48), mode="bicubic").movedim(1, -1).clamp(0, 1)
    for ending in ("mp4", "webm", "mov"):
        found = torch.cat(list(frames(write(tmp_path / f"clip.{ending}", [smooth], 12.5, None, ending, "best"))))
        assert found.shape == smooth.shape
        assert (found - smooth).abs().mean() < 0.03


# ---- taken off a reel


@pytest.mark.parametrize("counts", [[21], [1] * 21, [5, 11, 5], [8, 13], [20, 1]])
def test_taken_in_any_portions(copy, counts):
    reel = Reel.of(copy)
    assert torch.equal(torch.cat([reel.take(count) for count in counts]), clip())


def test_after_its_end_the_last_frame_stays(copy):
    reel = Reel.of(copy)
    reel.take(20)
    assert torch.equal(reel.take(3), clip()[-1:].expand(3, -1, -1, -1))
    assert torch.equal(reel.take(2), clip()[-1:].expand(2, -1, -1, -1))


def test_an_empty_reel():
    with pytest.raises(VideoError, match="holds no frame"):
        Reel(iter([])).take(1)


# ---- what cannot be read


def test_no_video(tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video at all")
    with pytest.raises(VideoError, match="cannot be read"):
        facts(broken)
    with pytest.raises(VideoError, match="cannot be read"):
        next(frames(tmp_path / "missing.mp4"))


def test_sound_alone(tmp_path):
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("pcm_s16le", rate=16_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1600), np.int16), "s16", "mono")
        frame.sample_rate = 16_000
        file.mux(stream.encode(frame))
    with pytest.raises(VideoError, match="sound alone"):
        facts(path)
