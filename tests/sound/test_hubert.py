"""HuBERT against transformers', its files, and which of its rows each frame hears."""

import hostile
import pytest
import torch
from safetensors.torch import save_file
from small import small_hubert

from joyhallo.config import SAMPLE_RATE
from joyhallo.files.contents import WeightsError
from joyhallo.recent import Recent
from joyhallo.sound import hubert as module
from joyhallo.sound.audio import AudioError
from joyhallo.sound.heard import windows
from joyhallo.sound.hubert import ROWS, Hubert, frames_of, hear, rows_of
from joyhallo.sound.hubert_file import open_hubert

OLD = {".parametrizations.weight.original0": ".weight_g", ".parametrizations.weight.original1": ".weight_v"}


@pytest.fixture(scope="module")
def theirs():
    """Built like hubert-large-ls960-ft, and as wide, with numbers drawn so that nothing in it does nothing."""
    from transformers import HubertConfig, HubertModel

    config = HubertConfig(
        hidden_size=1024,
        num_hidden_layers=2,
        num_attention_heads=16,
        intermediate_size=48,
        conv_dim=(12,) * 7,
        num_conv_pos_embeddings=16,
        feat_extract_norm="layer",
        conv_bias=True,
        do_stable_layer_norm=True,
    )
    torch.manual_seed(0)
    net = HubertModel(config).eval().requires_grad_(False)
    for key, tensor in net.state_dict().items():
        drawn = torch.randn(tensor.shape)
        plain = (tensor.ndim == 1 and key.endswith("weight")) or key.endswith("original0")
        tensor.copy_(1 + 0.1 * drawn if plain else drawn * max(1, tensor[0].numel()) ** -0.5)
    return net


@pytest.fixture
def whole(theirs):
    """As published: with what it was trained to read, and the spelling of its time."""
    state = {f"hubert.{key}": tensor.clone() for key, tensor in theirs.state_dict().items()}
    for new, old in OLD.items():
        state = {key.replace(new, old): tensor for key, tensor in state.items()}
    return state | {"lm_head.weight": torch.zeros(32, 1024), "lm_head.bias": torch.zeros(32)}


def sound(seconds: float, seed: int = 0) -> torch.Tensor:
    return torch.randn(round(seconds * SAMPLE_RATE), generator=torch.Generator().manual_seed(seed)) * 0.1 + 0.02


# ---- the network and its files


@pytest.mark.parametrize("form", ["pytorch_model.bin", "bare.safetensors", "half.safetensors"])
def test_the_rows_are_those_of_transformers(theirs, whole, tmp_path, form):
    path = tmp_path / form
    if form == "pytorch_model.bin":
        torch.save(whole, path)
    elif form == "bare.safetensors":
        save_file({key: tensor.clone() for key, tensor in theirs.state_dict().items()}, path)
    else:
        save_file({key: tensor.half() for key, tensor in whole.items()}, path)
    net = open_hubert(path).build(dtype=torch.float32)
    samples = sound(1.3) * 10
    found, expected = net(samples[None]), theirs(samples[None]).last_hidden_state
    assert found.shape == expected.shape == (1, 64, 1024)
    assert (found - expected).abs().max() < (0.01 if form == "half.safetensors" else 2e-5)
    assert expected.std() > 0.5


def test_a_whole_recording_is_heard_as_in_the_original(theirs, whole, tmp_path):
    """Normalised as a whole, then in blocks of 320,000 samples and 80 more, with transformers alone."""
    from transformers import Wav2Vec2FeatureExtractor

    torch.save(whole, tmp_path / "hubert.bin")
    net, samples = open_hubert(tmp_path / "hubert.bin").build(), sound(41.37)
    normalised = Wav2Vec2FeatureExtractor()(samples.numpy(), return_tensors="pt", sampling_rate=SAMPLE_RATE)
    values = normalised.input_values
    parts = [values[:, start : start + 320_080] for start in range(0, values.shape[1], 320_000)]
    expected = torch.cat([theirs(part).last_hidden_state[0] for part in parts])
    heard = hear(net, samples)
    assert len(heard) == len(expected) == 2068
    assert (heard[torch.arange(2068)][:, 0] - expected).abs().max() < 2e-5
    seen = windows(heard, "zero", 25, frames_of(len(samples), 25, False), before=4, after=3)
    assert len(seen) == 1034
    pairs = torch.cat([torch.zeros(8, 1024), expected, torch.zeros(8, 1024)])
    for frame in (0, 3, 4, 500, 1031, 1033):
        assert (seen[[frame]][0] - pairs[2 * frame : 2 * frame + 16]).abs().max() < 2e-5


def test_the_published_file_has_these_keys():
    """Those that transformers has for the sizes that its config.json tells, but for how positions are stored."""
    from transformers import HubertConfig, HubertModel

    sizes = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
    with torch.device("meta"):
        theirs = HubertModel(
            HubertConfig(**sizes, feat_extract_norm="layer", conv_bias=True, do_stable_layer_norm=True)
        ).state_dict()
        ours = Hubert().state_dict()
    kept = {key: tensor.shape for key, tensor in theirs.items() if "original" not in key and key != "masked_spec_embed"}
    place = "encoder.pos_conv_embed.conv"
    directions = theirs[f"{place}.parametrizations.weight.original1"].shape
    assert {key: tensor.shape for key, tensor in ours.items()} == kept | {f"{place}.weight": directions}


def changed(state, key: str, tensor: torch.Tensor | None) -> dict:
    return {name: value for name, value in (state | {key: tensor}).items() if value is not None}


@pytest.mark.parametrize(
    ("key", "tensor", "said"),
    [
        ("hubert.encoder.layer_norm.bias", None, r"not all of its tensors fit: 1 missing \(encoder\.layer_norm\.bias"),
        ("hubert.encoder.layers.1.layer_norm.bias", torch.zeros(3), "1 of another shape"),
        ("hubert.encoder.layers.0.x.weight", torch.zeros(3), "1 unknown"),
        ("hubert.feature_extractor.conv_layers.6.conv.weight", None, "looks like a HuBERT speech encoder, .*, but"),
        ("hubert.encoder.pos_conv_embed.conv.weight_g", None, "looks like a HuBERT speech encoder, .*, but"),
        ("hubert.encoder.pos_conv_embed.conv.weight_v", torch.zeros(1024, 0, 16), "an empty tensor"),
        ("hubert.encoder.layer_norm.bias", torch.zeros(1024, dtype=torch.int32), "holds whole numbers"),
    ],
)
def test_damaged_files_are_told(whole, tmp_path, key, tensor, said):
    torch.save(changed(whole, key, tensor), tmp_path / "hubert.bin")
    with pytest.raises(WeightsError, match=said):
        open_hubert(tmp_path / "hubert.bin")


def test_other_encoders_are_named(tmp_path):
    from transformers import HubertConfig, HubertModel

    narrow = HubertConfig(hidden_size=64, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8,
                          conv_dim=(8,) * 7, num_conv_pos_embeddings=8)  # fmt: skip
    state = {f"hubert.{key}": tensor for key, tensor in HubertModel(narrow).state_dict().items()}
    torch.save(state, tmp_path / "base.bin")
    with pytest.raises(WeightsError, match=r"64 numbers wide, .* with 1024\. Expected HuBERT large"):
        open_hubert(tmp_path / "base.bin")
    torch.save({key.replace("hubert.", "wav2vec2."): tensor for key, tensor in state.items()}, tmp_path / "w.bin")
    with pytest.raises(WeightsError, match=r"a wav2vec2 speech encoder.*Expected HuBERT large: pytorch_model\.bin"):
        open_hubert(tmp_path / "w.bin")


def test_hostile_files_in_an_encoders_place(whole, tmp_path):
    """tests/files/test_hostile.py has all others."""
    mark, few = tmp_path / "run", dict(list(whole.items())[:6])
    for case in (*hostile.with_code(few, mark), *hostile.odd_tensors(few)):
        path = tmp_path / case.name
        case.write(path)
        with pytest.raises(WeightsError, match=r"\w"):
            open_hubert(path)
    assert not mark.exists()


# ---- hearing


def test_blocks_are_encoded_when_they_are_asked_for_and_once(monkeypatch):
    net, samples, asked = small_hubert(), sound(45), []
    monkeypatch.setattr(module, "KEPT", Recent(1 << 30))

    def ready(network, memory):
        asked.append(memory)
        return network

    heard = hear(net, samples, ready=ready)
    assert asked == []
    heard[torch.arange(1100, 1200)]
    assert asked == [410 * 4 * 320_080]
    heard[torch.arange(990, 1010)]
    assert len(asked) == 2
    hear(net, samples, ready=ready)[torch.arange(0, 2249, 50)]
    assert len(asked) == 3, "another film with the same sound asks for what is new alone"
    hear(small_hubert(seed=1), samples, ready=ready)[torch.arange(0, 10)]
    assert len(asked) == 4, "another network hears something else"
    louder = torch.cat([samples[:-1], samples[-1:] + 100])
    hear(net, louder, ready=ready)[torch.arange(0, 10)]
    assert len(asked) == 5, "all of a recording decides what it is normalised by"


def test_what_is_said_at_a_joint_is_heard_in_one_piece_where_blocks_overlap():
    net, samples = small_hubert(), sound(70)
    across, start = torch.arange(ROWS - 10, ROWS + 10), 900 * 320
    plain, overlapped = (hear(net, samples, joints)[across] for joints in ("blocks", "overlapped"))
    mean, deviation = samples.mean(), (samples.var(correction=0) + 1e-7).sqrt()
    at_18_s = net((samples[start : start + 320_080] - mean)[None] / deviation)[0, across - 900]
    assert (overlapped[:, 0] - at_18_s).abs().max() < 1e-5
    assert (plain[:, 0] - at_18_s).abs().max() > 0.01


@pytest.mark.parametrize("samples", [torch.zeros(0), torch.zeros(100), torch.full((4000,), 0.1)])
def test_hardly_any_sound_of_speech(samples):
    heard = hear(small_hubert(), samples)
    count = max(1, frames_of(len(samples), 25, cover_tail=True))
    assert windows(heard, "zero", 25, count)[list(range(count))].isfinite().all()


def test_samples_that_are_no_numbers():
    with pytest.raises(AudioError, match="not numbers"):
        hear(small_hubert(), torch.full((4000,), torch.nan))


def test_as_many_frames_as_the_original_makes():
    """Of pairs of rows, the last of which may be half."""
    for samples in (400, 719, 720, 16_000, 16_079, 16_080, 320_000, 320_399, 320_400, 1_000_001):
        rows = len(range(0, samples - 399, 320))
        assert rows_of(samples) == rows
        assert frames_of(samples, 25, cover_tail=False) == (rows + 1) // 2
        assert frames_of(samples, 50, cover_tail=False) == rows
        assert frames_of(samples, 25, cover_tail=True) == -(-samples // 640)
    assert frames_of(399, 25, cover_tail=False) == frames_of(0, 25, cover_tail=True) == 0
