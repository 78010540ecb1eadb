"""ChineseWav2Vec2Encode in ComfyUI: either encoder, what is heard, when it is loaded, how it is stopped."""

from __future__ import annotations

import importlib
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from parity_speech import seeded_encoder
from separators import fake_network
from speakers import music, voice

import joyhallo.sound.wav2vec2 as engine
from joyhallo.sound.audio import Recording, prepare
from joyhallo.sound.loudness import loudness

SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 32,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
DEFAULTS = {"separate_vocals": "auto", "loudness": "as recorded", "normalize": "as the encoder was trained"}
RATE = 44_100


def sound(seconds: float = 1.3, rate: int = RATE, level: float = 1.0) -> dict:
    """Speech with quiet pauses, unlike music."""
    count = round(seconds * rate)
    pauses = torch.arange(count) % rate > 0.8 * rate
    left = torch.from_numpy(voice(rate, count)) * torch.where(pauses, 0.01, 1.0)
    return {"waveform": level * torch.stack([left, 0.7 * left])[None], "sample_rate": rate}


def with_music(seconds: float = 3.0) -> dict:
    mixed = sound(seconds)
    mixed["waveform"] = mixed["waveform"] + torch.from_numpy(music(RATE, round(seconds * RATE)))
    return mixed


def heard(audio: dict) -> torch.Tensor:
    return prepare(audio["waveform"], audio["sample_rate"]).samples


@pytest.fixture(scope="module")
def manager(pack):
    return importlib.import_module("comfy.model_management")


@pytest.fixture(scope="module")
def small(pack):
    return seeded_encoder(SIZES)


@pytest.fixture
def ours(pack, small):
    """As Load JoyHallo Models gives it."""

    def ours(normalize: bool = False):
        encoder = pack.joyhallo.sound.wav2vec2.Encoder(small.model, "a small one", normalize)
        return pack.nodes.speech_encoder.SpeechEncoder(encoder)

    return ours


@pytest.fixture(scope="module")
def base():
    """Of the size that ComfyUI's own loader knows."""
    return seeded_encoder({})


@pytest.fixture(scope="module")
def own(pack, comfyui):
    """ComfyUI's module of audio encoders."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(comfyui))
        yield importlib.import_module("comfy.audio_encoders.audio_encoders")


@pytest.fixture(scope="module")
def theirs(own, base):
    """As ComfyUI's AudioEncoderLoader gives it, in full precision."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.import_module("comfy.cli_args").args, "fp32_text_enc", True)
        return own.load_audio_encoder_from_sd(dict(base.model.state_dict()))


@pytest.fixture
def node(pack):
    return pack.nodes.audio_encode.ChineseWav2Vec2Encode


@pytest.fixture
def run(node):
    def run(encoder, audio=None, **inputs):
        with torch.inference_mode():
            return node.execute(encoder, sound() if audio is None else audio, **{**DEFAULTS, **inputs}).args

    return run


@pytest.fixture
def separator(pack, tmp_path, monkeypatch):
    """A network that halves what it is given, where the separator is looked for."""
    path = fake_network(tmp_path / "Kim_Vocal_2.onnx")
    monkeypatch.setattr(pack.nodes.audio_encode, "separator", lambda: path)
    return path


# ---- what comes out


def test_our_encoder_gives_the_engines_features(run, ours, small):
    speech, vocals, count = run(ours())
    expected = engine.encode(replace(small, name="a small one"), Recording(heard(sound())))
    assert torch.equal(speech.features(), expected.features())
    assert (speech.length, count, speech.encoder) == (33, 33, "a small one")
    assert speech.key == expected.key
    assert torch.equal(vocals["waveform"], heard(sound())[None, None])
    assert vocals["sample_rate"] == 16_000


def test_comfyuis_own_encoder_gives_the_same(run, theirs, base):
    speech, _, _ = run(theirs)
    expected = engine.encode(base, Recording(heard(sound())))
    assert torch.allclose(speech.features(), expected.features(), atol=5e-5)
    assert (speech.layers, speech.channels) == (12, 768)


def test_the_input_stays_as_it_was(run, ours):
    audio = sound(rate=16_000)
    audio["waveform"] = audio["waveform"][:, :1]
    before = audio["waveform"].clone()
    run(ours(), audio, loudness="levelled", normalize="on")
    assert torch.equal(audio["waveform"], before)


def test_the_recording_itself_is_kept_for_the_video(run, ours):
    audio = sound()
    kept, rate = run(ours(), audio, loudness="levelled")[0].sound
    assert (kept.data_ptr(), kept.shape, rate) == (audio["waveform"].data_ptr(), audio["waveform"].shape[1:], RATE)


def test_sound_in_half_precision_is_heard(run, ours):
    audio = sound()
    audio["waveform"] = audio["waveform"].half()
    speech, _, _ = run(ours(), audio)
    assert torch.allclose(speech.features(), run(ours())[0].features(), atol=0.05)


# ---- what each input changes


@pytest.mark.parametrize(("trained", "choice"), [(False, "on"), (True, "off")])
def test_normalisation_is_as_trained_unless_told_otherwise(run, ours, trained, choice):
    as_trained, told = run(ours(trained))[0].features(), run(ours(not trained), normalize=choice)[0].features()
    assert not torch.equal(as_trained, told)
    assert torch.equal(run(ours(not trained))[0].features(), told)
    assert torch.equal(run(ours(trained), normalize=choice)[0].features(), told)


def test_comfyuis_base_encoder_is_taken_for_the_chinese_one(run, theirs, base):
    expected = engine.encode(engine.wrap_encoder(base.model, normalize=True), Recording(heard(sound()))).features()
    assert torch.allclose(run(theirs, normalize="on")[0].features(), expected, atol=5e-5)
    off = run(theirs, normalize="off")[0].features()
    assert torch.equal(run(theirs)[0].features(), off)


def test_faint_speech_is_brought_to_a_level(run, ours):
    faint = sound(3.0, level=0.1)
    _, vocals, _ = run(ours(), faint, loudness="levelled")
    assert loudness(vocals["waveform"][0, 0]) == pytest.approx(-23, abs=0.5)
    _, vocals, _ = run(ours(), faint)
    assert torch.equal(vocals["waveform"][0, 0], heard(faint))


def test_vocals_are_separated_if_it_is_worth_it(run, ours, separator):
    for audio, mode, separated in (
        (with_music(), "auto", True),
        (with_music(), "off", False),
        (sound(3.0), "auto", False),
        (sound(3.0), "on", True),
    ):
        speech, vocals, count = run(ours(), audio, separate_vocals=mode)
        ratio = vocals["waveform"][0, 0].std() / heard(audio).std()
        assert ratio == pytest.approx(0.5 * 1.009 if separated else 1, rel=0.02)
        assert count == speech.length == 75


def test_a_separator_that_is_not_needed_is_not_loaded(run, ours, separator):
    separator.write_bytes(b"no network")
    run(ours(), sound(3.0))
    with pytest.raises(ValueError, match=r"Kim_Vocal_2\.onnx cannot be run as an ONNX network"):
        run(ours(), with_music())


def test_a_separator_that_has_come_since_makes_a_difference(pack, node, separator, monkeypatch):
    there = node.fingerprint_inputs(separate_vocals="auto", loudness="as recorded")
    off = node.fingerprint_inputs(separate_vocals="off")
    monkeypatch.setattr(pack.nodes.audio_encode, "separator", lambda: None)
    assert node.fingerprint_inputs(separate_vocals="auto") != there
    assert node.fingerprint_inputs(separate_vocals="off") == off


# ---- memory, progress, cancelling


def test_comfyui_loads_and_unloads_the_encoder(run, ours, manager):
    encoder = ours()
    manager.unload_all_models()
    run(encoder)
    assert [loaded.model for loaded in manager.current_loaded_models] == [encoder.patcher]
    manager.unload_all_models()
    assert not manager.current_loaded_models


def test_long_speech_loads_the_encoder_again_when_it_is_sampled(run, ours, small, manager, pack, monkeypatch):
    monkeypatch.setattr(pack.joyhallo.sound.wav2vec2, "WHOLE", 100)
    monkeypatch.setattr(pack.joyhallo.sound.wav2vec2, "CONTEXT", 10)
    encoder, progress = ours(), watched(monkeypatch)
    audio = sound(9.0)
    speech, _, count = run(encoder, audio)
    shown = len(progress)
    assert count == 225
    manager.unload_all_models()
    first = speech.features(0, 40)
    assert not manager.current_loaded_models  # kept since it was encoded
    with torch.inference_mode():
        last = speech.features(150, 225)
    assert [loaded.model for loaded in manager.current_loaded_models] == [encoder.patcher]
    again, _, _ = run(encoder, audio)
    assert torch.equal(again.features(0, 40), first)
    assert torch.equal(again.features(150, 225), last)
    assert len(progress) == 2 * shown  # what the sampler asks for leaves its bar alone


def watched(monkeypatch) -> list:
    shown = []
    utils = importlib.import_module("comfy.utils")
    monkeypatch.setattr(utils, "PROGRESS_BAR_HOOK", lambda value, total, *_, **__: shown.append(value / total))
    for name in ("PROGRESS_THROTTLE_MIN_INTERVAL", "PROGRESS_THROTTLE_MIN_PERCENT"):
        monkeypatch.setattr(utils, name, 0, raising=False)  # newer versions leave out what comes too soon
    return shown


@pytest.mark.parametrize("mode", ["off", "on"])
def test_progress_goes_one_way_from_start_to_end(run, ours, separator, monkeypatch, mode):
    shown = watched(monkeypatch)
    run(ours(), sound(25.0), separate_vocals=mode)
    assert shown == sorted(shown)
    assert shown[0] == 0
    assert shown[-1] == 1
    assert len(set(shown)) >= (8 if mode == "on" else 5)


@pytest.mark.parametrize("mode", ["off", "on"])
def test_cancelling_stops_in_the_middle_and_harms_nothing(run, ours, separator, manager, small, monkeypatch, mode):
    encoder = ours()
    shown = watched(monkeypatch)
    expected = run(encoder, sound(25.0), separate_vocals=mode)[0].features()
    steps, before = list(shown), hooks(small.model)
    for place in (1, len(steps) // 2, len(steps) - 1):
        shown.clear()
        monkeypatch.setattr(
            importlib.import_module("comfy.utils"),
            "PROGRESS_BAR_HOOK",
            lambda value, total, *_, place=place, **__: (
                shown.append(value) or manager.interrupt_current_processing(len(shown) == place)
            ),
        )
        with pytest.raises(manager.InterruptProcessingException):
            run(encoder, sound(25.0), separate_vocals=mode)
        assert len(shown) == place
        assert hooks(small.model) == before
    watched(monkeypatch)
    assert torch.equal(run(encoder, sound(25.0), separate_vocals=mode)[0].features(), expected)


def hooks(model: torch.nn.Module) -> int:
    return sum(len(module._forward_pre_hooks) + len(module._forward_hooks) for module in model.modules())


# ---- what does not fit


def test_other_encoders_are_named(run, pack, own):
    layers = importlib.import_module("comfy.ops").manual_cast
    network = own.WhisperLargeV3(dtype=torch.float32, device="meta", operations=layers)
    loaded = SimpleNamespace(model=network, patcher=None, load_device=torch.device("cpu"))
    for encoder, words in (
        (loaded, "WhisperLargeV3, which has no feature_projection; .*Load chinese-wav2vec2-base"),
        ("chinese-wav2vec2-base", "`audio_encoder` is a str; connect Load JoyHallo Models"),
        (None, "`audio_encoder` is a NoneType"),
    ):
        with pytest.raises(pack.joyhallo.sound.wav2vec2.SpeechError, match=words):
            run(encoder)


@pytest.mark.parametrize(
    ("audio", "words"),
    [
        ({}, "`audio` is a dict: no sound"),
        ({"waveform": None, "sample_rate": 16_000}, "The sound is a NoneType"),
        ({"waveform": torch.zeros(1, 1, 16_000), "sample_rate": None}, "The sample rate is None"),
        ({"waveform": torch.zeros(1, 1, 800), "sample_rate": 16_000}, r"lasts 0\.050 s"),
        ({"waveform": torch.zeros(1, 1, 16_000, dtype=torch.int16), "sample_rate": 16_000}, "floating-point"),
    ],
)
def test_sound_that_is_none_is_said(run, ours, pack, audio, words):
    with pytest.raises(pack.joyhallo.sound.audio.AudioError, match=words):
        run(ours(), audio)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"separate_vocals": "on"}, r"load Kim_Vocal_2\.onnx .*models/joyhallo/audio_separator.*off"),
        ({"separate_vocals": "maybe"}, "`separate_vocals` is 'maybe'; choose one of: auto, on, off"),
        ({"loudness": "loud"}, "`loudness` is 'loud'; choose one of: as recorded, levelled"),
        ({"normalize": "yes"}, "`normalize` is 'yes'; choose one of"),
    ],
)
def test_choices_that_cannot_be_met_are_said(run, ours, inputs, words):
    with pytest.raises(ValueError, match=words):
        run(ours(), **inputs)
