"""wav2vec2 as ComfyUI's AUDIO_ENCODER."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.model_patcher
import torch
from torch import Tensor, nn

from ..joyhallo.config import SAMPLE_RATE
from ..joyhallo.files.contents import WeightsError
from ..joyhallo.files.weights import modern_spelling, open_weights
from ..joyhallo.libraries import brief, library
from ..joyhallo.methods import looks_like
from ..joyhallo.sound.audio import prepare
from ..joyhallo.sound.origin import origin
from ..joyhallo.sound.wav2vec2 import Encoder, load_encoder

SINGLE = "a wav2vec2 encoder in one file, as ComfyUI's own loader takes it"


class SpeechEncoder:
    """The interface of ComfyUI's audio encoders, for a wav2vec2 of any size that knows its normalisation."""

    def __init__(self, encoder: Encoder):
        self.name, self.model, self.normalize = encoder.name, encoder.model, encoder.normalize
        self.origin = encoder.origin
        self.load_device = comfy.model_management.text_encoder_device()
        # wrapped in a module: ComfyUI sets `device` on the models it loads, which transformers' networks do not allow
        self.patcher = comfy.model_patcher.ModelPatcher(
            nn.Sequential(self.model), self.load_device, comfy.model_management.text_encoder_offload_device()
        )
        self.model_sample_rate = SAMPLE_RATE

    def load(self) -> None:
        """Load the whole network: its layers are not ComfyUI's, which can be loaded in part."""
        comfy.model_management.load_models_gpu([self.patcher], force_full_load=True)
        self.model.to(self.load_device)  # --novram leaves it where it was

    @torch.no_grad()
    def encode_audio(self, audio: Tensor, sample_rate: int) -> dict[str, Any]:
        """audio (1, channels, samples)"""
        sound = prepare(audio, sample_rate).samples
        heard = torch.nn.functional.layer_norm(sound, sound.shape, eps=1e-7) if self.normalize else sound
        self.load()
        out = self.model(heard[None].to(self.load_device), output_hidden_states=True, return_dict=True)
        return {
            "encoded_audio": out.last_hidden_state,
            "encoded_audio_all_layers": out.hidden_states,
            "audio_samples": len(sound),
        }

    def get_ram_usage(self) -> int:
        return self.patcher.model_size()

    def get_sd(self) -> dict[str, Tensor]:
        return self.model.state_dict()


def load_speech_encoder(path: Path, name: str) -> Any:
    """Load a Hugging Face folder with our own loader, or a single file with ComfyUI's."""
    if path.is_dir():
        return SpeechEncoder(load_encoder(path, name=name))
    single = library("comfy.audio_encoders.audio_encoders", "An audio encoder in a single file")
    state, _ = open_weights(path, f"{SINGLE}.")
    told = origin(state, {}, None)  # beforehand, as loading renames and drops some of it
    try:
        encoder = single.load_audio_encoder_from_sd(modern_spelling(state))
        _check_complete(encoder.model, state)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{path.name} looks like {looks_like(state)}, but ComfyUI cannot build a speech encoder of it "
            f"({brief(error)}); expected {SINGLE}."
        ) from error
    encoder.origin = told
    return encoder


def _check_complete(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """ComfyUI leaves out what a file lacks, and computes with whatever lay in memory there."""
    known = {key.removeprefix("wav2vec2.") for key in modern_spelling(state)}
    lacking = [key for key in model.state_dict() if key not in known]
    if lacking and "feature_projection.projection.weight" in model.state_dict():
        raise ValueError(f"{len(lacking)} of its tensors are missing, such as {lacking[0]}")
