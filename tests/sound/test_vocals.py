import os
import sys

import numpy as np
import pytest
import torch
from separators import fake_network
from speakers import ENGLISH, MANDARIN, music, recordings, spoken, voice

from joyhallo.files.contents import WeightsError
from joyhallo.libraries import LibraryError
from joyhallo.sound import vocals
from joyhallo.sound.audio import AudioError, load, prepare, read, resampled, stereo
from joyhallo.sound.vocals import Separator, hear, isolated, load_separator, music_likely, pause_depth, separated


def identity(spectrum: np.ndarray) -> np.ndarray:
    return spectrum


def uneven(spectrum: np.ndarray) -> np.ndarray:
    """Not linear, and different in every bin and frame: what shows parts that are put together wrongly."""
    slope = np.linspace(0.2, 1, vocals.BINS, dtype=np.float32)[:, None] * np.linspace(1, 0.5, 256, dtype=np.float32)
    return np.tanh(spectrum) * slope


def mixed(seconds: float, rate: int = 44_100) -> torch.Tensor:
    samples = round(seconds * rate)
    left = voice(rate, samples)
    return torch.from_numpy(np.stack([left, 0.5 * left + music(rate, samples)]))


def whole(separator: Separator, mix: np.ndarray) -> np.ndarray:
    """audio-separator's way, all at once: (2, samples) -> (2, samples)."""
    useful = vocals.PART - 2 * vocals.EDGE
    after = useful + vocals.EDGE - mix.shape[1] % useful
    padded = np.pad(mix, ((0, 0), (vocals.EDGE, after)))
    voice, weight = np.zeros_like(padded), np.zeros_like(padded)
    for start in range(0, padded.shape[1], vocals.STEP):
        part = padded[:, start : start + vocals.PART]
        size = part.shape[1]
        part = np.pad(part, ((0, 0), (0, vocals.PART - size)))
        voice[:, start : start + size] += vocals._run(separator, part.T).T[:, :size] * np.hanning(size)
        weight[:, start : start + size] += np.hanning(size)
    inside = slice(vocals.EDGE, vocals.EDGE + mix.shape[1])
    return voice[:, inside] / weight[:, inside] * 1.009


@pytest.mark.parametrize("seconds", [0.1, 5.9, 13.3])
def test_streaming_is_the_whole_at_once(seconds):
    separator, mix = Separator("uneven", uneven), mixed(seconds).numpy()
    pieces = list(separated(separator, iter(np.array_split(mix.T, 7)), mix.shape[1]))
    found = np.concatenate(pieces).T
    assert found.shape == mix.shape
    assert np.abs(found - whole(separator, mix)).max() < 1e-6
    assert max(map(len, pieces)) <= vocals.STEP


def test_the_way_is_watched_and_can_be_left():
    seen: list[float] = []
    isolated(Separator("identity", identity), mixed(13.3), 44_100, seen.append)
    assert seen == sorted(set(seen))
    assert seen[0] == 0
    assert 0.6 < seen[-1] < 1

    def stop(done: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        isolated(Separator("identity", identity), mixed(13.3), 44_100, stop)


def test_a_file_is_loaded_when_it_is_needed(tmp_path):
    path = fake_network(tmp_path / "Kim_Vocal_2.onnx")
    expected = hear(mixed(3), 44_100, "on", load_separator(path)).samples
    assert torch.equal(hear(mixed(3), 44_100, "on", path).samples, expected)
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no network")
    assert torch.equal(hear(mixed(3), 44_100, "off", broken).samples, prepare(mixed(3), 44_100).samples)
    with pytest.raises(WeightsError, match=r"broken\.onnx"):
        hear(mixed(3), 44_100, "on", broken)


def test_a_network_that_changes_nothing_gives_the_mix_back():
    mix = 0.5 * torch.sin(torch.arange(12 * 44_100)[None] * torch.tensor([[0.05], [0.2]])).numpy()
    found = np.concatenate(list(separated(Separator("identity", identity), [mix.T], mix.shape[1]))).T
    assert np.abs(found / 1.009 - mix)[:, 5_000:-5_000].max() < 1e-3  # the lowest bins are taken away


def test_the_published_signature_runs(tmp_path):
    pytest.importorskip("onnxruntime")
    separator = load_separator(fake_network(tmp_path / "Kim_Vocal_2.onnx"))
    mix = mixed(3)
    found = isolated(separator, mix, 44_100)
    half = isolated(Separator("half", lambda spectrum: 0.5 * spectrum), mix, 44_100)
    assert torch.allclose(found, half, atol=1e-6)


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 2), (22_050, 1), (48_000, 6), (16_000, 2)])
def test_the_voice_is_as_long_as_the_recording(rate, channels):
    waveform = 0.1 * torch.randn(channels, round(rate * 1.234))
    expected = len(prepare(waveform, rate).samples)
    found = isolated(Separator("identity", identity), waveform, rate)
    assert abs(len(found) - expected) <= 1  # two resamplings round up twice


def test_peaks_are_brought_down_before_and_after():
    loud = Separator("loud", lambda spectrum: 4 * spectrum)
    mix = mixed(2)
    plain, quiet, above = (isolated(loud, mix / mix.abs().max() * peak, 44_100) for peak in (0.1, 0.89, 4.0))
    assert plain.abs().max() > 0.2  # nothing was scaled
    assert quiet.abs().max() < 0.95
    assert torch.allclose(above, quiet, atol=1e-3)


def test_what_takes_the_networks_place(tmp_path):
    pytest.importorskip("onnxruntime")
    (tmp_path / "page.onnx").write_bytes(b"<!DOCTYPE html><html>")
    (tmp_path / "words.onnx").write_bytes(b"hello")
    os.mkfifo(tmp_path / "pipe.onnx")  # which would be waited for for ever
    for name, words in {
        "page": "is a web page",
        "words": "cannot be run as an ONNX network",
        "pipe": "is not a file",
        "absent": "does not exist",
    }.items():
        with pytest.raises(WeightsError, match=rf"{name}\.onnx {words}.*Kim_Vocal_2\.onnx"):
            load_separator(tmp_path / f"{name}.onnx")


def test_the_users_sound_is_left_alone():
    waveform = mixed(1) * 3
    before = waveform.clone()
    hear(waveform, 44_100, "on", Separator("identity", identity))
    assert torch.equal(waveform, before)


def test_stereo_blocks():
    one, two, six = (torch.randn(channels, 1_000) for channels in (1, 2, 6))
    assert np.array_equal(np.concatenate(list(stereo(one))).T, one.numpy().repeat(2, axis=0))
    assert np.array_equal(np.concatenate(list(stereo(two))).T, two.numpy())
    assert np.allclose(np.concatenate(list(stereo(six))).T, six.mean(dim=0).expand(2, -1), atol=1e-6)


# ---- modes


def test_modes():
    clean, noisy = torch.from_numpy(voice(16_000, 80_000))[None], torch.randn(1, 80_000) * 0.1
    marker = Separator("marker", lambda spectrum: 0 * spectrum)
    assert torch.equal(hear(noisy, 16_000, "off", marker).samples, noisy[0])
    assert not hear(clean, 16_000, "on", marker).samples.any()
    assert not hear(noisy, 16_000, "auto", marker).samples.any()
    (found,) = hear(noisy, 16_000, "auto").notices
    assert found.values["file"] == "Kim_Vocal_2.onnx"
    with pytest.raises(AudioError, match=r"load Kim_Vocal_2\.onnx"):
        hear(clean, 16_000, "on")
    with pytest.raises(AudioError, match="off, on, auto"):
        hear(clean, 16_000, "perhaps", marker)


def test_a_recording_without_a_voice_is_noticed():
    keep, drop = Separator("keep", lambda spectrum: spectrum), Separator("drop", lambda spectrum: 0 * spectrum)
    noisy = torch.randn(1, 80_000) * 0.1
    assert [found.key for found in hear(noisy, 16_000, "on", drop).notices] == ["no_voice"]
    assert not hear(noisy, 16_000, "on", keep).notices
    assert [found.key for found in hear(0 * noisy, 16_000, "on", drop).notices] == ["silent"]


def check_the_rule(samples: torch.Tensor) -> None:
    assert not music_likely(samples)
    backing = torch.from_numpy(music(16_000, len(samples)))
    backing *= samples.square().mean().sqrt() / backing.square().mean().sqrt()
    for decibels in (0, 5, 10):
        assert music_likely(samples + backing * 10 ** (-decibels / 20)), decibels
    assert music_likely(backing)


@pytest.mark.parametrize("speed", [120, 260])
@pytest.mark.parametrize(("language", "text"), [("cmn-latn-pinyin", MANDARIN), ("en", ENGLISH)])
def test_music_behind_synthetic_speech_is_noticed(tmp_path, language, text, speed):
    check_the_rule(load(spoken(tmp_path, language, text * 2, speed)).samples)


def test_music_behind_recorded_speech_is_noticed():
    for path in recordings():
        check_the_rule(load(path).samples)


def test_silence_is_not_music():
    assert not music_likely(torch.zeros(16_000))
    assert pause_depth(torch.zeros(10)) == float("inf")


def test_digital_silence_around_does_not_hide_music():
    backed = torch.from_numpy(voice(16_000, 80_000) + music(16_000, 80_000))
    assert music_likely(torch.cat([torch.zeros(40_000), backed, torch.zeros(40_000)]))


# ---- files


def test_files_that_are_no_separator(tmp_path):
    pytest.importorskip("onnxruntime")
    (tmp_path / "broken.onnx").write_bytes(b"no network")
    for path, words in [
        (tmp_path / "nowhere.onnx", "does not exist"),
        (tmp_path / "broken.onnx", "cannot be run as an ONNX network"),
        (fake_network(tmp_path / "other.onnx", bins=2048), r"takes .*2048.*expected \(batch, 4, 3072, 256\)"),
    ]:
        with pytest.raises(WeightsError, match=words):
            load_separator(path)


def test_without_onnxruntime_the_cure_is_named(tmp_path, monkeypatch):
    (tmp_path / "Kim_Vocal_2.onnx").write_bytes(b"any")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(LibraryError, match=r"needs the library onnxruntime.*-m pip install \"onnxruntime\""):
        load_separator(tmp_path / "Kim_Vocal_2.onnx")


def test_an_answer_of_another_shape_is_named():
    with pytest.raises(AudioError, match="returns the shape"):
        isolated(Separator("cut", lambda spectrum: spectrum[:, :2]), mixed(1), 44_100)


def test_audio_separator_gives_the_same():
    """The program that the original calls, where it is installed."""
    mdx = pytest.importorskip("audio_separator.separator.architectures.mdx_separator", exc_type=ImportError)
    theirs = object.__new__(mdx.MDXSeparator)
    quiet = type("Quiet", (), {"debug": staticmethod(lambda *_: None)})()
    theirs.__dict__.update(
        logger=quiet, n_fft=7680, hop_length=1024, dim_f=3072, dim_t=256, segment_size=256, overlap=0.25,
        compensate=1.009, batch_size=1, enable_denoise=False, torch_device=torch.device("cpu"),
        model_run=lambda spectrum: uneven(spectrum.numpy()),
    )  # fmt: skip
    for path in recordings():
        waveform, rate = read(path)
        mix = np.concatenate(list(resampled(stereo(waveform), rate, 44_100)))[: 12 * 44_100]
        found = np.concatenate(list(separated(Separator("uneven", uneven), [mix], len(mix))))
        assert np.array_equal(found.T, theirs.demix(mix.T.copy()))
