"""What Whisper hears, in the recorded cases of LatentSync and of MuseTalk."""

from __future__ import annotations

import math

import seeded
import torch
from cases import Case, answers
from torch import Tensor

from joyhallo.sound.heard import Heard, HeardWindows, windows
from joyhallo.sound.whisper import LATENTSYNC, MUSETALK, ROWS, Whisper, frames_of, hear, log_mel
from joyhallo.sound.whisper_file import encoder_of

SILENT = 4  # rows before the recording that ours has at any rate
ROW_COUNT = 23  # of the case `whisper_windows`


def table(length: int, width: int) -> Tensor:
    """Whisper's own, which is never drawn."""
    half = width // 2
    angles = torch.arange(length)[:, None] * torch.exp(torch.arange(half) * (-math.log(10_000) / (half - 1)))
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def filled(net: Whisper, state: dict[str, Tensor]) -> Whisper:
    net.load_state_dict(state, strict=True, assign=True)
    return net.requires_grad_(False).eval()


# ---- LatentSync


def of_latentsync(case: Case) -> Whisper:
    dims = case.index["_whisper"]["dims"]
    shapes = {key.removeprefix("encoder."): shape for key, shape in case.index["_whisper"]["openai_keys"].items()}
    drawn = seeded.weights(shapes, "whisper.encoder.", case.salt)
    with torch.device("meta"):
        net = Whisper(dims["n_audio_state"], dims["n_audio_layer"], heads=dims["n_audio_head"])
    return filled(net, drawn | {"positional_embedding": table(ROWS, dims["n_audio_state"])})


def wave(case: Case, name: str) -> Tensor:
    places = torch.arange(case.index[name]["samples"])
    x = seeded.normals(f"in.{name}.wave", places.shape, case.salt) * 3000
    return (x * ((places // 4000) % 3) / 2).round().clamp(-32768, 32767) / 32768


@answers("whisper_(short|long)", "latentsync")
def heard(case):
    samples, facts = wave(case, case.name), case.facts
    yield "out.mel", log_mel(samples)[:, facts["mel_columns_stored"]]
    found = hear(of_latentsync(case), samples, LATENTSYNC)
    assert len(found) == facts["feature_rows"]
    yield "out.features", found[torch.tensor(facts["rows_stored"])]
    count = frames_of(len(samples), 25, LATENTSYNC, cover_tail=False)
    assert count == facts["chunks"]
    yield "out.chunks", windows(found, LATENTSYNC.beyond, 25, count)[facts["frames_stored"]]


@answers("whisper_short_WRONG_hf", "latentsync")
def heard_otherwise(case):
    found = hear(of_latentsync(case), wave(case, "whisper_short"), LATENTSYNC)
    yield "out.features", found[torch.arange(len(found) - 12, len(found))]


@answers("whisper_windows", "latentsync")
def rows_of_frames(case):
    found = Heard(ROW_COUNT, ROWS, ROWS, 0, lambda number: torch.empty(0))
    for name, rate, before, after in (
        *((f"out.index_fps{rate}", rate, 2, 2) for rate in (24, 25, 30, 50)),
        ("out.index_len13", 25, 1, 3),
    ):
        count = frames_of(ROW_COUNT * 320, rate, LATENTSYNC, cover_tail=False)
        seen = windows(found, LATENTSYNC.beyond, rate, count, before=before, after=after)
        yield name, seen.rows(slice(None)).clamp(0, ROW_COUNT - 1).int()


# ---- MuseTalk


def of_musetalk(case: Case) -> Whisper:
    """Drawn under the names of Hugging Face, and read as a file with these is."""
    from transformers import WhisperConfig, WhisperModel

    sizes = case.facts["config"]
    with torch.device("meta"):
        shapes = {key: value.shape for key, value in WhisperModel(WhisperConfig(**sizes)).encoder.state_dict().items()}
        net = Whisper(
            sizes["d_model"],
            sizes["encoder_layers"],
            inner=sizes["encoder_ffn_dim"],
            heads=sizes["encoder_attention_heads"],
        )
    drawn = seeded.weights(shapes, case.facts["prefix"], case.salt)
    return filled(net, encoder_of({f"encoder.{key}": tensor for key, tensor in drawn.items()}))


@answers("whisper_(a|fps30)", "musetalk")
def heard_by_musetalk(case):
    samples, net = case["wave"], of_musetalk(case)
    half_minute = torch.nn.functional.pad(samples, (0, 30 * 16_000 - len(samples)))
    yield "out.mel", log_mel(half_minute)[:, : case.facts["tensors"]["out.mel"][0][1]]
    found = hear(net, samples, MUSETALK)
    yield "out.states", found[torch.arange(len(found))]
    yield "out.chunks", _seen(case, found, samples)[:: 4 if case.facts["frames"] > 40 else 2]
    if "out.last_state_without_norm" in case.facts["tensors"]:
        raw = net(log_mel(half_minute)[None], False)[0]
        yield "out.last_state_without_norm", raw[: len(found), -1]


def _seen(case: Case, found: Heard, samples: Tensor) -> Tensor:
    count = frames_of(len(samples), case.facts["fps"], MUSETALK, cover_tail=False)
    assert count == case.facts["frames"]
    return windows(found, MUSETALK.beyond, case.facts["fps"], count)[list(range(count))]


@answers("window_.*", "musetalk")
def rows_by_musetalk(case):
    """The original cuts the rate to a whole number, and has more silence before at low rates; ours is exact."""
    rate, samples = int(case.facts["fps"]), case.facts["samples"]
    found = Heard(samples // 320, ROWS, ROWS, 0, lambda number: torch.empty(0))
    seen: HeardWindows = windows(found, MUSETALK.beyond, rate, frames_of(samples, rate, MUSETALK, cover_tail=False))
    rows = seen.rows(slice(None)) + SILENT - 2 * math.ceil(50 / rate)
    yield "out.rows", torch.where((rows >= 0) & (rows < len(found)), rows + 1, 0).int()
