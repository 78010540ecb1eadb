import importlib
import importlib.util
import json
import os
import subprocess
import sys
import types
from dataclasses import replace
from pathlib import Path

import parity
import pytest
import seeded
import small
import torch
from parity_speech import seeded_encoder
from plain_speech import plain_answer
from safetensors.torch import save_file
from shared import REPOSITORY, shared_folder
from speakers import ENGLISH, MANDARIN, recordings, spoken
from torch import Tensor, nn

from joyhallo.diffusion.schedule import Schedule
from joyhallo.files.contents import WeightsError
from joyhallo.methods.hallo.sampling import Settings, animate
from joyhallo.sound import wav2vec2 as speech
from joyhallo.sound.audio import Recording, load, prepare
from joyhallo.sound.wav2vec2 import Positions, Signal, SpeechError, encode, layers_of, load_encoder, wrap_encoder

transformers = pytest.importorskip("transformers")

SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 32,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}


def noise(seconds: float, seed: int = 0) -> Recording:
    samples = 0.1 * torch.randn(round(seconds * 16_000), generator=torch.Generator().manual_seed(seed))
    return Recording(samples)


@pytest.fixture(scope="module")
def encoder():
    return seeded_encoder(SIZES)


class LikeComfy(nn.Module):
    """The same weights behind the face that ComfyUI's wav2vec2 shows."""

    def __init__(self, model: nn.Module, do_normalize: bool = False):
        super().__init__()
        self.whole, self.do_normalize, self.seen = [model], do_normalize, []
        self.feature_extractor = LikeComfyExtractor(model.feature_extractor)
        self.feature_projection = LikeComfyProjection(model.feature_projection)
        self.encoder = model.encoder

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        x = x.mean(dim=1)
        if self.do_normalize:
            x = (x - x.mean()) / torch.sqrt(x.var() + 1e-7)
        x = self.feature_projection(self.feature_extractor(x))
        x = self.encoder.layer_norm(x + self.encoder.pos_conv_embed(x))
        states = (x,)
        for layer in self.encoder.layers:
            x = layer(x)
            x = x[0] if isinstance(x, tuple) else x
            states += (x,)
        return x, states


class LikeComfyExtractor(nn.Module):
    def __init__(self, extractor: nn.Module):
        super().__init__()
        self.conv_layers = extractor.conv_layers

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, None]
        for layer in self.conv_layers:
            x = layer(x)
        return x.transpose(1, 2)


class LikeComfyProjection(nn.Module):
    def __init__(self, projection: nn.Module):
        super().__init__()
        self.inner = projection

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)[0]


class AudioEncoder:
    """ComfyUI's AUDIO_ENCODER: not a module, but an object that holds one."""

    def __init__(self, model: nn.Module):
        self.model, self.load_device = model, torch.device("cpu")


# ---- what comes out


@pytest.mark.parametrize("case", ["wav2vec"])
def test_golden_features(case):
    folder = shared_folder()
    if folder is None:
        pytest.skip("no golden data beside the repository")
    (found,) = parity.cases(folder / "golden", [case])
    for name, off, allowed, right in parity.differences(found, parity.run(found)):
        assert right, f"{name}: {off:.2e}, allowed {allowed:.0e}"


@pytest.mark.parametrize("seconds", [0.1, 0.28, 0.64, 1.37, 2.6])
def test_features_are_those_of_the_method_written_out(encoder, seconds):
    recording = noise(seconds)
    found = encode(encoder, recording)
    filled = nn.functional.pad(recording.samples, (0, (found.rows - found.length) * 640))
    expected = plain_answer(encoder.model, filled, found.rows)
    assert torch.allclose(found.features(), expected, atol=1e-5)
    assert found.length == recording.frames
    assert found.rows % 16 == 0
    assert found.rows - found.length < 16


def test_what_an_encoder_is_trained_on_is_what_it_is_used_for():
    ear, some = seeded_encoder(SIZES), [noise(1.28, seed) for seed in range(3)]
    ear.model.requires_grad_(True)
    found, inputs = layers_of(ear, torch.stack([recording.samples for recording in some]))
    assert inputs.shape == (3, 32, 16)
    for rows, recording in zip(found, some, strict=True):
        assert torch.allclose(rows, encode(ear, recording).features(), atol=1e-5)
        assert torch.allclose(rows, plain_answer(ear.model, recording.samples, 32), atol=1e-5)
    found.square().mean().backward()
    parts = (ear.model.feature_extractor.conv_layers[0].conv, ear.model.encoder.layers[0].attention.q_proj)
    assert all(part.weight.grad.abs().max() > 0 for part in parts)


def test_the_transformer_is_transformers_own(encoder):
    """At the rows that fall on features the answer is that of the library's model, called plainly."""
    recording = noise(1.2)
    features = Positions.of(Signal.of(recording.samples, False, 1), encoder.convolutions).features
    signal = replace(Signal.of(recording.samples, False, 1), rows=features)
    found = speech._Passes(encoder, signal).part(0)
    states = encoder.model(recording.samples[None], output_hidden_states=True).hidden_states
    assert torch.allclose(found, torch.stack([state[0] for state in states[1:]], dim=1), atol=1e-5)


@pytest.mark.parametrize(("rows", "features"), [(16, 31), (48, 79), (7, 3), (1, 4), (3000, 6015), (5, 1)])
def test_interpolation_is_torchs_own(rows, features):
    x = torch.randn(1, features, 5, generator=torch.Generator().manual_seed(1))
    expected = nn.functional.interpolate(x.transpose(1, 2), size=rows, mode="linear", align_corners=True)
    found = Positions(rows, features, 320, 400).interpolate(x, 0, rows, 0)
    assert torch.allclose(found, expected.transpose(1, 2), atol=1e-6)


@pytest.mark.parametrize("normalize", [False, True])
def test_the_library_and_comfyui_are_one_path(encoder, normalize):
    ours = replace(encoder, normalize=normalize)
    theirs = wrap_encoder(AudioEncoder(LikeComfy(encoder.model)), normalize=normalize)
    recording = noise(1.9)
    assert torch.allclose(encode(ours, recording).features(), encode(theirs, recording).features(), atol=1e-5)


def test_comfyuis_own_normalisation_stays_out_of_the_way(encoder):
    model = LikeComfy(encoder.model, do_normalize=True)
    theirs = wrap_encoder(AudioEncoder(model))
    assert theirs.normalize
    recording = noise(1.9)
    expected = encode(replace(encoder, normalize=True), recording).features()
    assert torch.allclose(encode(theirs, recording).features(), expected, atol=1e-5)
    assert model.do_normalize


def test_normalised_sound_is_what_the_library_would_feed(encoder):
    recording = Recording(noise(1.3).samples + 0.3)
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
    fed = extractor(recording.samples.numpy(), sampling_rate=16_000, return_tensors="pt").input_values[0]
    heard = Signal.of(recording.samples, True, 16)
    assert torch.allclose(heard.piece(0, len(fed)), fed, atol=1e-6)
    assert not heard.piece(len(fed), heard.length).any()


def test_no_trace_is_left_on_the_encoder(encoder, monkeypatch):
    class Cancelled(Exception):
        pass

    def cancel(*_):
        raise Cancelled

    norm = encoder.model.feature_extractor.conv_layers[0].layer_norm
    monkeypatch.setattr(speech, "PIECE", 20)
    encode(encoder, noise(1))
    assert not encoder.model.feature_projection._forward_pre_hooks
    assert not norm._forward_hooks
    for part in encoder.model.encoder, encoder.model.feature_extractor.conv_layers[3]:
        handle = part.register_forward_pre_hook(cancel)
        with pytest.raises(Cancelled):
            encode(encoder, noise(1))
        handle.remove()
    assert not encoder.model.feature_projection._forward_pre_hooks
    assert not norm._forward_hooks


# ---- windows


def test_windows_are_neighbours_with_the_ends_repeated(encoder):
    found = encode(encoder, noise(2.1))
    rows = found.features()
    index = (torch.arange(found.rows)[:, None] + torch.arange(-2, 3)).clamp(0, found.rows - 1)
    assert torch.equal(found.windows(), rows[index])
    assert found.windows().stride(0) == found.windows().stride(1)  # a view: nothing is stored five times
    for start, stop in [(0, 16), (5, 9), (found.rows - 1, None), (0, 1), (3, 3), (40, 99)]:
        assert torch.equal(found.windows(start, stop), rows[index][start:stop])
        assert torch.equal(found[start:stop], rows[index][start:stop])


def test_a_speech_can_be_sampled_as_it_is():
    encoder = seeded_encoder(SIZES)
    found = encode(encoder, noise(0.9))  # two chunks
    found.check(small.SMALL.audio_layers, small.SMALL.audio_channels)
    arguments = (small.net(), small.BlockCodec(), Schedule(), small.portrait())
    settings = Settings(steps=1, guidance=1)
    lazily = list(animate(*arguments, found, settings, length=found.length))
    at_once = list(animate(*arguments, found.windows(), settings, length=found.length))
    assert sum(len(chunk.frames) for chunk in lazily) == found.length == 23
    assert all(torch.equal(a.frames, b.frames) for a, b in zip(lazily, at_once, strict=True))


def test_a_network_of_other_sizes_is_refused(encoder):
    with pytest.raises(SpeechError, match=r"3 layers of 16 channels.*12 layers of 768.*chinese-wav2vec2-base"):
        encode(encoder, noise(1)).check(12, 768)


# ---- what it is known by


def test_levels_and_sound_come_along(encoder):
    recording, sound = noise(0.9), (torch.randn(2, 900), 1000)
    found = encode(encoder, recording, sound=sound)
    assert found.sound is sound
    assert encode(encoder, recording).sound is None
    assert found.levels.shape == (32,)
    assert torch.equal(found.levels[23:], torch.full((9,), -100.0))
    assert (found.levels[:22] + 20).abs().max() < 1  # noise of a tenth of full scale


def test_the_key_is_that_of_the_features(encoder):
    recording, same = noise(0.9), noise(0.9)
    known = encode(encoder, recording).key
    assert encode(seeded_encoder(SIZES), same, sound=(torch.zeros(1, 9), 9)).key == known
    louder = Recording(recording.samples.index_fill(0, torch.tensor([7000]), 0.5))
    weights = seeded_encoder(SIZES)
    with torch.no_grad():
        weights.model.feature_projection.projection.bias += 1e-3
    others = [
        encode(encoder, louder),
        encode(encoder, Recording(recording.samples[:-1])),
        encode(encoder, recording, multiple=8),
        encode(replace(encoder, normalize=True), recording),
        encode(replace(encoder, name="another"), recording),
        encode(weights, recording),
    ]
    assert len({known, *(other.key for other in others)}) == 1 + len(others)


# ---- long recordings


@pytest.fixture
def short_parts(monkeypatch):
    monkeypatch.setattr(speech, "WHOLE", 200)
    monkeypatch.setattr(speech, "CONTEXT", 50)


def test_parts_are_joined_without_a_seam(monkeypatch, short_parts):
    """Without attention, the one thing that hears beyond its context, parts give what one pass gives."""
    encoder = seeded_encoder(SIZES)
    for layer in encoder.model.encoder.layers:
        layer.attention.out_proj.weight.zero_()
    found, expected = in_parts_and_at_once(encoder, monkeypatch)
    assert torch.allclose(found, expected, atol=5e-5)


def test_more_context_comes_closer_to_one_pass(encoder, monkeypatch, short_parts):
    errors = []
    for context in (0, 50, 90):
        monkeypatch.setattr(speech, "CONTEXT", context)
        monkeypatch.setattr(speech, "WHOLE", 200 + 2 * context)
        found, expected = in_parts_and_at_once(encoder, monkeypatch)
        errors.append((found - expected).norm() / expected.norm())
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.2  # random weights attend to all there is alike, and the loudness changes on purpose


def in_parts_and_at_once(encoder, monkeypatch) -> tuple[Tensor, Tensor]:
    recording = Recording(torch.cat([noise(9).samples, 0.2 * noise(9, seed=1).samples, noise(5, seed=2).samples]))
    parts = encode(encoder, recording)
    assert torch.equal(parts.windows(95, 205), parts.windows()[95:205])
    with monkeypatch.context() as patch:
        patch.setattr(speech, "WHOLE", 10_000)
        return parts.features(), encode(encoder, recording).features()


@pytest.mark.parametrize("normalize", [False, True])
def test_everything_before_the_transformer_is_exact_in_pieces(encoder, monkeypatch, normalize):
    """Convolutions, their normalisation over the whole recording, and interpolation."""
    recording = Recording(torch.cat([noise(9).samples, 0.01 * noise(9, seed=1).samples + 0.2]))
    passes = speech._Passes(encoder, Signal.of(recording.samples, normalize, 16))
    whole = passes.inputs(encoder.model, 0, passes.rows)
    assert passes.statistics is None
    monkeypatch.setattr(speech, "PIECE", 77)
    pieces = [passes.inputs(encoder.model, at, min(at + 90, passes.rows)) for at in range(0, passes.rows, 90)]
    assert passes.statistics is not None
    assert torch.allclose(torch.cat(pieces, dim=1), whole, atol=2e-5)
    assert torch.allclose(passes.inputs(encoder.model, 0, passes.rows), whole, atol=2e-5)


def test_parts_are_computed_when_asked_for_and_the_encoder_made_ready_each_time(encoder, short_parts):
    made_ready = []
    ours = replace(encoder, ready=lambda model: made_ready.append(1) or model)
    found = encode(ours, noise(40))
    assert len(made_ready) == 1
    count = -(-found.rows // 100)
    for start in range(0, found.rows, 16):
        found.windows(start, start + 16)
    assert len(made_ready) == count


def test_the_way_is_watched_from_start_to_end_and_can_be_left(encoder, monkeypatch, short_parts):
    monkeypatch.setattr(speech, "PIECE", 60)
    seen: list[float] = []
    whole = encode(replace(encoder, watch=seen.append), noise(12))
    assert seen == sorted(seen)
    assert seen[0] == 0
    assert 0.5 < seen[-1] < 1
    assert len(set(seen)) >= 3 + 3  # pieces and layers
    first = len(seen)
    whole.windows(290, 300)
    assert len(seen) > first  # of another part

    def stop(done: float) -> None:
        if done >= 0.5:
            raise KeyboardInterrupt

    before = hook_count(encoder.model)
    with pytest.raises(KeyboardInterrupt):
        encode(replace(encoder, watch=stop), noise(12))
    assert hook_count(encoder.model) == before
    assert torch.equal(encode(encoder, noise(12)).features(), whole.features())


def hook_count(model: nn.Module) -> int:
    return sum(len(module._forward_pre_hooks) + len(module._forward_hooks) for module in model.modules())


def test_as_much_memory_is_asked_for_as_the_longest_pass_takes():
    """transformers' base model, its layers on the meta device: what the states and the widest step of a layer take."""
    with torch.device("meta"):
        model = transformers.Wav2Vec2Model(transformers.Wav2Vec2Config())
    states, widest = 13 * speech.WHOLE * 768 * 4, 2 * speech.WHOLE * 3072 * 4
    told = wrap_encoder(model).working_memory
    assert states + widest < told < 2 * (states + widest)


def test_up_to_the_limit_one_pass_is_used(encoder, monkeypatch):
    monkeypatch.setattr(speech, "WHOLE", 48)
    recording = noise(48 / 25)
    exact = encode(encoder, recording)
    assert exact.rows == 48
    assert torch.allclose(exact.features(), plain_answer(encoder.model, recording.samples, 48), atol=1e-5)


# ---- real speech


@pytest.mark.parametrize(("language", "text"), [("cmn-latn-pinyin", MANDARIN), ("en", ENGLISH)])
def test_synthetic_speech_has_a_row_for_each_frame(encoder, tmp_path, language, text):
    recording = load(spoken(tmp_path, language, text))
    found = encode(encoder, recording)
    assert found.length == recording.frames == pytest.approx(recording.seconds * 25, abs=1)
    assert torch.isfinite(found.windows()).all()


def test_recorded_speech(encoder):
    for path in recordings():
        recording = load(path)
        found = encode(encoder, recording)
        assert (found.length, found.samples) == (recording.frames, len(recording.samples))


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("seconds", [0.1, 0.28, 0.639, 0.641, 1.0, 3.21])
def test_lengths_for_odd_durations_and_rates(encoder, rate, seconds):
    waveform = 0.1 * torch.randn(2, int(rate * seconds) + 1)
    recording = prepare(waveform, rate)
    found = encode(encoder, recording)
    assert found.length == recording.frames
    assert len(found.features()) == found.rows == -(-found.length // 16) * 16
    assert encode(encoder, recording, multiple=1).rows == found.length


# ---- encoders from files


def write_folder(folder: Path, weights: str = "pytorch_model.bin", rename=lambda key: key, **preprocessor) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    config = transformers.Wav2Vec2Config(**SIZES)
    (folder / "config.json").write_text(json.dumps({**config.to_dict(), "architectures": ["Wav2Vec2ForPreTraining"]}))
    if preprocessor:
        (folder / "preprocessor_config.json").write_text(json.dumps({"sampling_rate": 16_000, **preprocessor}))
    model = seeded.fill(transformers.Wav2Vec2ForPreTraining(config))
    state = {rename(key): tensor.contiguous() for key, tensor in model.state_dict().items()}
    if weights.endswith(".bin"):
        torch.save(state, folder / weights)
    else:
        save_file(state, folder / weights)
    return folder


def old_names(key: str) -> str:
    for new, old in (
        ("parametrizations.weight.original0", "weight_g"),
        ("parametrizations.weight.original1", "weight_v"),
    ):
        key = key.replace(new, old)
    return key


@pytest.mark.parametrize("weights", ["pytorch_model.bin", "model.safetensors"])
@pytest.mark.parametrize("rename", [lambda key: key, old_names, lambda key: key.removeprefix("wav2vec2.")])
def test_a_folder_loads_as_the_library_loads_it(tmp_path, weights, rename):
    folder = write_folder(tmp_path / "chinese-wav2vec2-base", weights, rename, do_normalize=False)
    found = load_encoder(folder)
    assert found.name == "chinese-wav2vec2-base"
    assert not found.normalize
    theirs = transformers.Wav2Vec2Model.from_pretrained(folder, local_files_only=True).eval().float()
    for (key, tensor), (other, expected) in zip(
        found.model.state_dict().items(), theirs.state_dict().items(), strict=True
    ):
        assert key == other
        assert torch.equal(tensor, expected), key
    assert torch.isfinite(encode(load_encoder(folder / weights), noise(0.5)).features()).all()


def test_half_precision_files_are_heard_in_full(tmp_path):
    folder = write_folder(tmp_path / "chinese", "model.safetensors", do_normalize=False)
    path = folder / "model.safetensors"
    from safetensors.torch import load_file

    save_file({key: tensor.half() for key, tensor in load_file(path).items()}, path)
    assert {tensor.dtype for tensor in load_encoder(folder).model.state_dict().values()} == {torch.float32}


@pytest.mark.parametrize(
    ("name", "told", "expected"),
    [
        ("chinese-wav2vec2-base", {}, False),
        ("wav2vec2-base-960h", {}, True),
        ("somebody's", {}, False),
        ("chinese-wav2vec2-base", {"do_normalize": True}, True),
        ("wav2vec2-base-960h", {"do_normalize": False}, False),
        ("somebody's", {"feature_size": 1}, True),  # the library's default
    ],
)
def test_normalisation_is_told_by_the_folder_else_by_the_kind(tmp_path, name, told, expected, caplog):
    folder = write_folder(tmp_path / name, **told)
    assert load_encoder(folder).normalize == expected
    assert ("no preprocessor_config.json" in caplog.text) == (not told)
    assert load_encoder(folder, normalize=not expected).normalize != expected


def test_the_kind_of_an_encoder_in_memory(encoder):
    assert not wrap_encoder(AudioEncoder(LikeComfy(encoder.model)), name="chinese-wav2vec2-base.safetensors").normalize
    assert wrap_encoder(AudioEncoder(LikeComfy(encoder.model)), name="wav2vec2-base-960h.safetensors").normalize


def test_files_of_another_kind_are_named(tmp_path):
    folder = write_folder(tmp_path / "good", do_normalize=False)

    def copy(name: str) -> Path:
        return write_folder(tmp_path / name, do_normalize=False)

    hubert = copy("hubert")
    (hubert / "config.json").write_text(json.dumps({"model_type": "hubert"}))
    broken = copy("broken")
    (broken / "config.json").write_text("{")
    other_sizes = copy("sizes")
    (other_sizes / "config.json").write_text(json.dumps({**SIZES, "hidden_size": 32}))
    bad_sizes = copy("bad")
    (bad_sizes / "config.json").write_text(json.dumps({**SIZES, "conv_stride": [1]}))
    slow = copy("slow")
    (slow / "preprocessor_config.json").write_text(json.dumps({"sampling_rate": 8_000}))
    unet = copy("unet")
    torch.save({"down_blocks.0.resnets.0.conv1.weight": torch.zeros(1)}, unet / "pytorch_model.bin")
    pointer = copy("pointer")
    (pointer / "pytorch_model.bin").write_text("version https://git-lfs.github.com/spec/v1\n")
    fairseq = tmp_path / "fairseq"
    fairseq.mkdir()
    torch.save({"args": None, "cfg": {}, "model": {"w2v_encoder": torch.zeros(1)}}, fairseq / "fairseq-ckpt.pt")
    (tmp_path / "empty").mkdir()
    for path, words in [
        (hubert, "is a hubert model"),
        (broken, "not valid JSON"),
        (other_sizes, "do not fit its config.json"),
        (bad_sizes, "does not describe a wav2vec2 encoder"),
        (slow, "8000 Hz"),
        (unet, "looks like a single UNet"),
        (pointer, "Git LFS pointer"),
        (fairseq, r"fairseq-ckpt\.pt is for fairseq"),
        (fairseq / "fairseq-ckpt.pt", "looks like a fairseq training checkpoint"),
        (tmp_path / "empty", "neither model.safetensors nor pytorch_model.bin"),
        (tmp_path / "nowhere", "neither model.safetensors nor"),
    ]:
        with pytest.raises(WeightsError, match=words):
            load_encoder(path)
    assert load_encoder(folder)


HOSTILE = """
import json, socket, sys
asked = []

def connect(*given, **_):
    asked.append(str(given))
    raise OSError("there is no network")

socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = socket.gethostbyname = connect
from joyhallo.files.fingerprint import of_module
from joyhallo.sound.wav2vec2 import load_encoder
good, evil = (load_encoder(folder, normalize=False).model for folder in sys.argv[1:])
same = of_module(good) == of_module(evil) and good.config.to_dict() == evil.config.to_dict()
print(json.dumps([evil.config._attn_implementation, str(evil.dtype), evil.training, same, asked]))
"""
# Fields by which releases of transformers fetch code, run it, or make another network
REMOTE = "some-org/some-repo"
FIELDS = {
    **dict.fromkeys(("_attn_implementation", "attn_implementation", "_attn_implementation_internal"), REMOTE),
    **dict.fromkeys(("_name_or_path", "name_or_path", "_commit_hash", "experts_implementation"), REMOTE),
    "auto_map": {"AutoConfig": "evil.Config", "AutoModel": f"{REMOTE}--evil.Model"},
    "custom_pipelines": {"speech": {"impl": "evil.Pipeline"}},
    "quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True, "modules_to_not_convert": None},
    "torch_dtype": "float16",
    "dtype": "float16",
    "add_adapter": True,
    "adapter_attn_dim": 4,
    "use_kernels": True,
    "torchscript": True,
    "return_dict": False,
    "output_attentions": True,
    "gradient_checkpointing": True,
    "pruned_heads": {"0": [0]},
    "base_model_tp_plan": {"*": "colwise"},
    "transformers_version": "999",
}


@pytest.mark.slow
def test_a_config_runs_no_foreign_code(tmp_path):
    """Attention by a kernel of somebody's repository: transformers fetches and imports it through `kernels`."""
    good, folder = (write_folder(tmp_path / name, do_normalize=False) for name in ("good", "evil"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **FIELDS}))
    site, mark = tmp_path / "site", tmp_path / "mark"
    (folder / "evil.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
    (site / "kernels-0.10.4.dist-info").mkdir(parents=True)
    about = "Metadata-Version: 2.1\nName: kernels\nVersion: 0.10.4\n"
    (site / "kernels-0.10.4.dist-info" / "METADATA").write_text(about)
    (site / "kernels.py").write_text(f"def get_kernel(*_, **__):\n    open({str(mark)!r}, 'w').close()\n")
    done = subprocess.run(
        [sys.executable, "-c", HOSTILE, str(good), str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(REPOSITORY), *sys.path])},
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["sdpa", "torch.float32", False, True, []]
    assert not mark.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"num_hidden_layers": 0},
        {"num_hidden_layers": -1},
        {"num_hidden_layers": 100_000},
        {"num_attention_heads": True},
        {"hidden_size": 1e12},
        {"conv_stride": [0] * 7},
        {"conv_stride": "5"},
        {"conv_kernel": [1] * 100_000},
        {"layer_norm_eps": "small"},
        {"hidden_act": 3},
        {"hidden_act": "some-org/some-repo"},
        {"feat_extract_activation": "Gelu"},
        {"feat_extract_norm": "batch"},
        {"conv_bias": 1},
        {"conv_dim": []},
        {"conv_kernel": [10.5] * 7},
        {"layer_norm_eps": float("nan")},
        {"layer_norm_eps": -1},
        {"intermediate_size": 2**70},
        {"num_conv_pos_embedding_groups": 0},
    ],
    ids=lambda change: str(change)[:40],
)
def test_numbers_out_of_bounds_are_named(tmp_path, change):
    folder = write_folder(tmp_path / "encoder", do_normalize=False)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(WeightsError, match=f"does not describe a wav2vec2 encoder: {next(iter(change))} is"):
        load_encoder(folder)


def test_a_deeply_nested_config_is_said(tmp_path):
    folder = write_folder(tmp_path / "encoder", do_normalize=False)
    (folder / "config.json").write_text("[" * 100_000)
    with pytest.raises(WeightsError, match="is not valid JSON"):
        load_encoder(folder)


def test_other_encoders_are_refused():
    class WhisperLargeV3(nn.Module):
        pass

    with pytest.raises(SpeechError, match="is a WhisperLargeV3, which has no feature_extractor"):
        wrap_encoder(AudioEncoder(WhisperLargeV3()), name="whisper.safetensors")
    with pytest.raises(SpeechError, match="is a str"):
        wrap_encoder("chinese-wav2vec2-base")


def test_features_that_are_not_numbers_are_caught():
    encoder = seeded_encoder(SIZES)
    encoder.model.feature_projection.projection.weight.fill_(float("nan"))
    with pytest.raises(SpeechError, match="not numbers"):
        encode(encoder, noise(1))


def test_too_short_without_filling(encoder):
    with pytest.raises(SpeechError, match="fewer than the 400"):
        encode(encoder, Recording(torch.zeros(399)), multiple=1)


# ---- ComfyUI's own encoder


@pytest.fixture
def comfy_encoders(monkeypatch):
    """The loader of a real ComfyUI on the CPU, without its server. What it has from torchaudio is not used."""
    folder = Path(os.environ.get("JOYHALLO_COMFYUI", REPOSITORY.parent / "ComfyUI"))
    if not (folder / "comfy" / "audio_encoders" / "audio_encoders.py").is_file():
        pytest.skip("no ComfyUI: set JOYHALLO_COMFYUI to its folder")
    monkeypatch.syspath_prepend(str(folder))
    if importlib.util.find_spec("torchaudio") is None:
        monkeypatch.setitem(sys.modules, "torchaudio", types.ModuleType("torchaudio"))
    try:
        options = importlib.import_module("comfy.cli_args").args
        options.cpu = True
        loader = importlib.import_module("comfy.audio_encoders.audio_encoders")
    except ImportError as error:
        pytest.skip(f"ComfyUI cannot be imported here: {error}")
    try:
        importlib.import_module("comfy.model_patcher")
    except ImportError:  # it wants torchvision; moving the model between devices is not what is tested
        patcher = types.SimpleNamespace(ModelPatcher=lambda model, **_: model)
        monkeypatch.setattr(loader.comfy, "model_patcher", patcher, raising=False)
    return options, loader


def test_comfyuis_audio_encoder_gives_the_librarys_features(comfy_encoders, monkeypatch):
    options, loader = comfy_encoders
    ours = seeded_encoder({})  # ComfyUI knows the base model's sizes alone
    state = {"wav2vec2." + old_names(key): tensor for key, tensor in ours.model.state_dict().items()}
    monkeypatch.setattr(speech, "PIECE", 30)
    for full_precision, normalize, allowed in (True, False, 5e-5), (True, True, 5e-5), (False, False, 5e-2):
        monkeypatch.setattr(options, "fp32_text_enc", full_precision)
        monkeypatch.setattr(options, "fp16_text_enc", not full_precision)
        theirs = wrap_encoder(loader.load_audio_encoder_from_sd(dict(state)))
        assert not theirs.normalize
        expected = encode(replace(ours, normalize=normalize), noise(0.9))
        found = encode(replace(theirs, normalize=normalize), noise(0.9))
        assert torch.allclose(found.features(), expected.features(), atol=allowed)
        found.check(12, 768)
