"""Whisper's encoder against transformers', its files, and which rows of its states each frame hears."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from small import small_whisper

from joyhallo.config import SAMPLE_RATE
from joyhallo.files.contents import WeightsError
from joyhallo.recent import Recent
from joyhallo.sound import whisper as module
from joyhallo.sound.audio import AudioError
from joyhallo.sound.heard import Heard, windows
from joyhallo.sound.whisper import LATENTSYNC, MUSETALK, ROWS, frames_of, hear, log_mel
from joyhallo.sound.whisper_file import open_whisper

RATES = [Fraction(25), Fraction(30), Fraction(30_000, 1001), Fraction(24_000, 1001), Fraction(60), Fraction(12)]


@pytest.fixture(scope="module")
def theirs():
    """As wide as a head of Whisper's, so that the file alone says how many there are."""
    from transformers import WhisperConfig, WhisperModel

    sizes = {f"{half}_{name}": 1 for half in ("encoder", "decoder") for name in ("layers", "attention_heads")}
    sizes |= {"encoder_ffn_dim": 256, "decoder_ffn_dim": 256, "encoder_layers": 2, "vocab_size": 60}
    tokens = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
    torch.manual_seed(0)
    return WhisperModel(WhisperConfig(d_model=64, **sizes, **tokens)).eval()


def sound(seconds: float, seed: int = 0) -> torch.Tensor:
    return torch.randn(round(seconds * SAMPLE_RATE), generator=torch.Generator().manual_seed(seed)) * 0.1


def numbered(rows: int, blocks: int = ROWS) -> Heard:
    """Each row holds its own number, and says which half minute it is from."""

    def block(number: int) -> torch.Tensor:
        return (torch.arange(ROWS) + number * blocks).float()[:, None, None].expand(-1, 5, 1)

    return Heard(rows, ROWS, blocks, (ROWS - blocks) // 2, block)


# ---- the network and its files


@torch.no_grad()
def test_the_states_are_those_of_transformers(theirs, tmp_path):
    from transformers import WhisperFeatureExtractor

    samples = sound(2)
    save_file({key: value.contiguous() for key, value in theirs.state_dict().items()}, tmp_path / "model.safetensors")
    ours = open_whisper(tmp_path / "model.safetensors").build()
    mel = WhisperFeatureExtractor()(samples.numpy(), sampling_rate=SAMPLE_RATE, return_tensors="pt").input_features
    padded = torch.nn.functional.pad(samples, (0, 30 * SAMPLE_RATE - len(samples)))
    assert (log_mel(padded) - mel[0]).abs().max() < 1e-4
    expected = torch.stack(theirs.encoder(mel, output_hidden_states=True).hidden_states, dim=2)
    assert (ours(mel, True) - expected).abs().max() < 1e-5
    assert (ours(mel, False)[:, :, -1] - expected[:, :, -1]).abs().max() > 0.01
    heard = hear(ours, samples, MUSETALK)[torch.arange(100)]
    assert (heard - expected[0, :100]).abs().max() < 1e-3


def test_files_of_all_forms(theirs, tmp_path):
    ours = small_whisper(width=64, blocks=2)
    state = {f"encoder.{key}": value for key, value in ours.state_dict().items()}
    decoder = {"decoder.token_embedding.weight": torch.zeros(60, 64)}
    torch.save({"dims": {"n_mels": 80}, "model_state_dict": state | decoder}, tmp_path / "tiny.pt")
    torch.save({f"model.{key}": value for key, value in theirs.state_dict().items()}, tmp_path / "hugging.bin")
    save_file({key: value.half() for key, value in ours.state_dict().items()}, tmp_path / "alone.safetensors")
    for name, expected in {"tiny.pt": state, "alone.safetensors": state}.items():
        found = open_whisper(tmp_path / name).build(dtype=torch.float32).state_dict()
        assert {f"encoder.{key}" for key in found} == expected.keys()
        assert all(torch.allclose(found[key.removeprefix("encoder.")], expected[key], atol=2e-3) for key in expected)
    found = open_whisper(tmp_path / "hugging.bin").build().state_dict()
    assert torch.equal(found["blocks.1.attn.query.weight"], theirs.encoder.layers[1].self_attn.q_proj.weight)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"decoder.token_embedding.weight": torch.zeros(51864, 1)}, "for English alone"),
        ({"encoder.conv1.weight": torch.zeros(1280, 128, 3)}, "1280 numbers wide"),
        ({"encoder.blocks.1.mlp.0.weight": torch.zeros(3, 3)}, "not all of its tensors fit"),
        ({"encoder.ln_post.weight": None}, "Expected Whisper tiny"),
    ],
)
def test_other_files_are_named(tmp_path, changed, said):
    state = {f"encoder.{key}": value for key, value in small_whisper(width=64, blocks=2).state_dict().items()} | changed
    torch.save({key: value for key, value in state.items() if value is not None}, tmp_path / "tiny.pt")
    with pytest.raises(WeightsError, match=said):
        open_whisper(tmp_path / "tiny.pt")


# ---- half minutes


def test_half_minutes_are_encoded_when_they_are_asked_for_and_once(monkeypatch):
    net, samples, asked = small_whisper(), sound(95), []
    monkeypatch.setattr(module, "KEPT", Recent(1 << 30))

    def ready(network):
        asked.append(network)
        return network

    heard = hear(net, samples, MUSETALK, ready=ready)
    assert asked == []
    heard[torch.arange(1600, 1700)]
    assert len(asked) == 1
    heard[torch.arange(1490, 1510)]
    assert len(asked) == 2
    hear(net, samples, MUSETALK, ready=ready)[torch.arange(0, 3100, 50)]
    assert len(asked) == 3, "another film with the same sound asks for what is new alone"
    hear(net, samples, LATENTSYNC, ready=ready)[torch.arange(0, 10)]
    assert len(asked) == 4, "another manner hears something else"


def test_little_is_kept(monkeypatch):
    monkeypatch.setattr(module, "KEPT", Recent(2 * ROWS * 5 * 16 * 4))
    heard = hear(small_whisper(), sound(95), MUSETALK)
    heard[torch.arange(0, len(heard), 100)]
    assert len(module.KEPT) == 2


def test_overlapped_half_minutes_are_the_plain_ones_where_there_is_but_one():
    net, samples = small_whisper(), sound(20)
    rows = torch.arange(1000)
    assert torch.equal(hear(net, samples, MUSETALK)[rows], hear(net, samples, MUSETALK, "overlapped")[rows])


def test_every_row_comes_from_the_middle_of_its_half_minute():
    rows = torch.randperm(9000)
    found = numbered(9000, 1250)[rows][:, 0, 0]
    assert torch.equal(found, rows.float())


def test_what_is_said_at_a_joint_is_heard_in_one_piece_where_half_minutes_overlap():
    net, samples = small_whisper(seed=3), sound(70)
    across = torch.arange(1490, 1510)  # 30 s
    at_25_s = hear(net, samples[25 * SAMPLE_RATE :], MUSETALK)[across - 1250]
    assert torch.equal(hear(net, samples, MUSETALK, "overlapped")[across], at_25_s)
    assert not torch.equal(hear(net, samples, MUSETALK)[across], at_25_s)


@pytest.mark.parametrize("samples", [torch.zeros(0), torch.zeros(100), torch.full((4000,), 0.1)])
@pytest.mark.parametrize("manner", [MUSETALK, LATENTSYNC])
def test_hardly_any_sound(samples, manner):
    heard = hear(small_whisper(), samples, manner)
    count = max(1, frames_of(len(samples), 25, manner, cover_tail=True))
    assert windows(heard, manner.beyond, 25, count)[list(range(count))].isfinite().all()


def test_no_numbers_are_named():
    with pytest.raises(AudioError, match="not numbers"):
        hear(small_whisper(), torch.full((4000,), torch.nan), MUSETALK)


# ---- windows


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("manner", [MUSETALK, LATENTSYNC])
def test_a_window_begins_80_ms_before_its_frame_at_any_rate_and_time(manner, rate):
    length = 600 * SAMPLE_RATE
    count = frames_of(length, rate, manner, cover_tail=True)
    assert count == int(600 * rate) + (int(600 * rate) != 600 * rate)
    frames = np.linspace(0, count - 1, 200).round().astype(int).tolist()
    seen = windows(numbered(30_000), manner.beyond, rate, count)[frames].view(len(frames), 10, 5)[:, :, 0]
    begins = torch.tensor([frame * 50 // rate - 4 for frame in frames])
    rows = begins[:, None] + torch.arange(10)
    expected = rows.clamp(0, 29_999) if manner is LATENTSYNC else rows * ((rows >= 0) & (rows < 30_000))
    assert torch.equal(seen.long(), expected)


def test_lips_come_later_and_the_tail_is_covered():
    heard = numbered(100)
    plain, later = (windows(heard, MUSETALK.beyond, Fraction(25), 51, offset=offset) for offset in (0.0, 80.0))
    assert torch.equal(later[[10]], plain[[8]])
    assert frames_of(2 * SAMPLE_RATE + 1, 25, MUSETALK, cover_tail=True) == 51
    assert frames_of(2 * SAMPLE_RATE + 1, 25, MUSETALK, cover_tail=False) == 50
    assert frames_of(2 * SAMPLE_RATE, 25, LATENTSYNC, cover_tail=False) == 52
