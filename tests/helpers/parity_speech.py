"""Parity cases of the speech side."""

from __future__ import annotations

import seeded
import torch
from cases import answers

from joyhallo.config import SAMPLE_RATE
from joyhallo.methods.hallo.config import CHUNK_FRAMES
from joyhallo.sound.audio import prepare
from joyhallo.sound.wav2vec2 import Encoder, encode, wrap_encoder


def seeded_encoder(sizes: dict, salt: str = "", prefix: str = "wav2vec.", normalize: bool = False) -> Encoder:
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    with torch.device("meta"):
        model = Wav2Vec2Model(Wav2Vec2Config(**sizes))
    return wrap_encoder(seeded.fill(model, prefix, salt), name="seeded", normalize=normalize)


@answers("wav2vec.*")
def wav2vec(case):
    encoders = {
        name: seeded_encoder(case.facts["config"], case.salt, case.facts.get("prefix", "wav2vec."), normalize)
        for name, normalize in (("emb", False), ("emb_normalized", True))
    }
    for key in (key.removeprefix("wave.") for key in case.inputs if key.startswith("wave.")):
        recording = prepare(case[f"wave.{key}"], SAMPLE_RATE)
        expected = case.facts.get("lengths", {}).get(key)
        for name, encoder in encoders.items():
            speech = encode(encoder, recording, 1 if key == "raw" else case.facts.get("frames", CHUNK_FRAMES))
            if expected and (speech.length, speech.rows) != (expected["audio_length"], expected["padded_frames"]):
                raise AssertionError(f"{case.name} {key}: {speech.length} of {speech.rows} rows, expected {expected}")
            yield f"out.{name}.{key}", speech.features()
        yield f"out.window5.{key}", encode(encoders["emb"], recording).windows()
