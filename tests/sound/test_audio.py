import logging
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from shared import REPOSITORY
from speakers import ENGLISH, MANDARIN, recordings, spoken, voice

from joyhallo.libraries import LibraryError
from joyhallo.sound import audio
from joyhallo.sound.audio import AudioError, Recording, joined, levels, load, prepare, read, resampled, video_frames

RATES = (8_000, 11_025, 12_345, 16_000, 22_050, 44_100, 48_000, 96_000)


def sound(samples: int, channels: int = 1, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(channels, samples, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("seconds", [0.1, 0.7, 6.3])
def test_resampling_is_soxr_of_the_mean_filled_up_as_librosa_does(rate, seconds):
    soxr = pytest.importorskip("soxr")
    waveform = sound(math.ceil(rate * seconds) + 1, channels=2)
    mean = waveform.numpy().mean(axis=0)
    expected = soxr.resample(mean, rate, 16_000, quality="HQ") if rate != 16_000 else mean
    expected = np.pad(expected, (0, math.ceil(waveform.shape[1] * (16_000 / rate)) - len(expected)))
    assert np.array_equal(prepare(waveform, rate).samples.numpy(), expected)


def test_files_are_read_as_librosa_reads_them():
    librosa = pytest.importorskip("librosa")
    for path in recordings():
        expected, _ = librosa.load(path, sr=16_000)
        assert np.array_equal(load(path).samples.numpy(), expected)


def test_a_file_read_in_pieces_is_the_file_read_at_once():
    for path in recordings():
        assert torch.equal(load(path).samples, prepare(*read(path)).samples)


def test_blocks_leave_no_seams(monkeypatch):
    waveform = sound(100_000, channels=2)
    whole = prepare(waveform, 44_100).samples
    monkeypatch.setattr(audio, "BLOCK", 997)
    assert torch.equal(prepare(waveform, 44_100).samples, whole)


@pytest.mark.parametrize("expected", [0, 5, 7, 30, 1 << 45])
@pytest.mark.parametrize("shape", [(30,), (15, 2)])
def test_pieces_are_joined_however_much_was_promised(expected, shape):
    blocks = np.arange(30, dtype=np.float32).reshape(shape)
    assert np.array_equal(joined(np.split(blocks, [1, 4, 9]), expected), blocks)


def promising(path, endless: bytes):
    """A file whose header promises as much as it can: the length of a FLAC has 36 bits, that of a WAV 32."""
    soundfile = pytest.importorskip("soundfile")
    soundfile.write(path, sound(16_000).numpy().T, 16_000)
    content = bytearray(path.read_bytes())
    place = 21 if path.suffix == ".flac" else content.index(b"data") + 4
    content[place] |= endless[0]
    content[place + 1 : place + len(endless)] = endless[1:]
    path.write_bytes(content)
    return path


def test_a_wav_is_as_long_as_what_is_there(tmp_path):
    path = promising(tmp_path / "a.wav", b"\xff\xff\xff\xff")
    assert len(load(path).samples) == 16_000
    assert read(path)[0].shape == (1, 16_000)


@pytest.mark.parametrize("length", [160, None])
@pytest.mark.parametrize("use", [load, read])
def test_a_flac_that_promises_days_takes_no_memory_for_them(tmp_path, use, length):
    path = promising(tmp_path / "a.flac", b"\x0f\xff\xff\xff\xff")
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(AudioError, match=r"a.flac is damaged: it promises 68719476735 samples that cannot all be read"):
        use(path)


def test_reading_can_be_watched_and_stopped(tmp_path, monkeypatch):
    soundfile = pytest.importorskip("soundfile")
    soundfile.write(path := tmp_path / "a.wav", sound(5_000).numpy().T, 16_000)
    monkeypatch.setattr(audio, "BLOCK", 2_000)
    shares = []
    load(path, shares.append)
    assert shares == [0.4, 0.8, 1.0]

    prepare(*read(path), shares.append)
    assert shares == [0.4, 0.8, 1.0] * 2

    def cancelled(done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read(path, cancelled)


def test_stereo_stays_stereo_when_resampled():
    waveform = sound(30_000, channels=2).numpy().T
    both = np.concatenate(list(resampled([waveform[:10_000], waveform[10_000:]], 22_050, 44_100)))
    right = np.concatenate(list(resampled([waveform[:, 1]], 22_050, 44_100)))
    assert both.shape == (60_000, 2)
    assert np.array_equal(both[:, 1], right)


@pytest.mark.parametrize("rate", RATES)
def test_lengths_of_odd_durations(rate):
    for seconds in (0.1, 0.123, 0.28, 0.64, 1.0, 1.001, 2.56, 3.337, 7.77):
        samples = math.ceil(rate * seconds)
        recording = prepare(sound(samples), rate)
        assert len(recording.samples) == math.ceil(samples * (16_000 / rate))
        assert recording.frames == math.ceil(len(recording.samples) / 16_000 * 25)
        assert abs(recording.frames / 25 - seconds) < 0.082


def test_levels_are_root_mean_squares_in_decibels():
    random = np.random.default_rng(0)
    sound = random.standard_normal(5 * 640 + 100).astype(np.float32) * 10.0 ** random.uniform(-3, 0, 5 * 640 + 100)
    sound[640:1280] = 0
    found = levels(torch.from_numpy(sound).float(), 16)
    for frame in range(16):
        heard = sound[frame * 640 : (frame + 1) * 640].astype(np.float64)
        expected = 20 * np.log10(np.sqrt(np.mean(heard**2))) if heard.any() else -100
        assert found[frame].item() == pytest.approx(expected, abs=1e-3), frame
    assert levels(torch.full((640,), 1e-6), 1).item() == -100
    assert levels(torch.ones(640), 1).item() == pytest.approx(0, abs=1e-5)


def test_video_frames_round_up_as_the_original_does():
    assert [video_frames(n) for n in (1, 640, 641, 16_000, 21_931)] == [1, 1, 2, 25, 35]
    assert video_frames(4_480) == 8  # 0.28 s are 7.000000000000001 frames in floating point


@pytest.mark.parametrize(("language", "text"), [("cmn-latn-pinyin", MANDARIN), ("en", ENGLISH)])
def test_speech_of_a_synthesiser(tmp_path, language, text):
    path = spoken(tmp_path, language, text)
    waveform, rate = read(path)
    recording = load(path)
    assert rate == 22_050
    assert not recording.notices
    assert recording.frames == math.ceil(waveform.shape[1] / rate * 25)


@pytest.mark.parametrize(
    ("waveform", "rate", "words"),
    [
        (torch.zeros(1, 0), 16_000, "empty"),
        (torch.zeros(0, 5_000), 16_000, "empty"),
        (torch.tensor(0.0), 16_000, "shape"),
        (torch.zeros(2, 1, 5_000), 16_000, "batch of 2"),
        (torch.zeros(1, 1, 1, 5_000), 16_000, "shape"),
        (torch.zeros(1, 5_000, dtype=torch.int16), 16_000, "int16"),
        (sound(1_599), 16_000, "0.100 s|at least 0.1 s"),
        (sound(5_000).log(), 16_000, "not numbers"),
        (sound(5_000) / 0, 16_000, "not numbers"),
        (sound(5_000) * 1e30, 16_000, "between -1 and 1"),
        (sound(5_000), 0, "sample rate is 0"),
        (sound(5_000), -44_100, "sample rate"),
        (sound(5_000), 44_100.5, "whole number"),
        (sound(5_000), float("nan"), "sample rate"),
        (sound(5_000), float("inf"), "sample rate"),
        (sound(5_000), None, "sample rate is None"),
        (None, 16_000, "is a NoneType"),
        ("speech.wav", 16_000, "is a str"),
    ],
)
def test_what_cannot_be_used_is_named(waveform, rate, words):
    with pytest.raises(AudioError, match=words):
        prepare(waveform, rate)


@pytest.mark.parametrize(
    ("waveform", "words"),
    [
        (torch.zeros(1, 5_000), "is silent"),
        (sound(5_000) * 1e-3, "nearly silent"),
        ((sound(5_000) * 100).clamp(-1, 1), "clipped"),
        (sound(5_000) * 32_768, "Scale them"),
    ],
)
def test_what_is_doubtful_is_noted_and_logged(waveform, words, caplog):
    with caplog.at_level(logging.WARNING):
        (note,) = prepare(waveform, 16_000).notices
    assert words in str(note)
    assert str(note) in caplog.text


def test_what_is_clipped_is_counted_in_every_channel():
    stereo = (sound(10_000).clamp(-0.9, 0.9)).expand(2, -1).clone()
    stereo[0, :15] = 1.0  # of the samples of both channels 0.075 %, where 0.1 % are too many
    assert not prepare(stereo, 16_000).notices
    stereo[1, :15] = 1.0
    (note,) = prepare(stereo, 16_000).notices
    assert note.key == "clipped"
    assert note.values["share"] in ("0.1%", "0.2%")


def test_ordinary_speech_raises_no_doubt():
    assert not prepare(torch.from_numpy(voice(16_000, 32_000)), 16_000).notices
    for path in recordings():
        assert not load(path).notices


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_and_a_batch_of_one(dtype):
    waveform = sound(4_000, channels=3)
    plain = prepare(waveform.to(dtype).float(), 16_000)
    assert torch.equal(prepare(waveform[None].to(dtype).requires_grad_(), 16_000).samples, plain.samples)


def test_files_that_are_no_sound(tmp_path):
    (tmp_path / "notes.txt").write_text("no sound")
    with pytest.raises(AudioError, match=r"notes\.txt cannot be read as sound"):
        load(tmp_path / "notes.txt")
    with pytest.raises(AudioError, match="does not exist"):
        load(tmp_path / "nothing.wav")


def test_a_missing_library_is_named_with_the_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "soxr", None)
    with pytest.raises(LibraryError, match=r"Resampling sound needs the library soxr.*-m pip install \"soxr\""):
        prepare(sound(5_000), 44_100)
    assert isinstance(prepare(sound(5_000), 16_000), Recording)


@pytest.mark.slow
def test_nothing_heavy_is_imported_before_it_is_used():
    heavy = {"transformers", "onnxruntime", "soundfile", "soxr", "librosa", "scipy", "diffusers"}
    modules = ", ".join(f"joyhallo.sound.{module}" for module in ("audio", "loudness", "wav2vec2", "vocals", "turns"))
    code = f"import sys, {modules}; print(*({heavy!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_what_is_heard_as_it_is_is_not_copied():
    """Of hours of sound one copy is enough; any other rate, number of channels or kind of number makes one."""
    waveform = sound(16_000)
    assert prepare(waveform[None], 16_000).samples.data_ptr() == waveform.data_ptr()
    for other, rate in ((waveform.double(), 16_000), (waveform.expand(2, -1), 16_000), (waveform, 22_050)):
        assert prepare(other, rate).samples.data_ptr() != waveform.data_ptr()
