"""The nodes called one after the other in the test's own process, with the demo's model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from unittest import mock

import numpy as np
import torch
from PIL import Image

from tools.demo_model.bundle import FOLDER

PICTURES = ("portrait.png", "face_mask.png", "lip_mask.png")
HEARD_AS_IT_IS = ("off", "as recorded", "as the encoder was trained")


def mask(name: str) -> torch.Tensor:
    return torch.from_numpy(np.array(Image.open(FOLDER / name).convert("L"))).float()[None] / 255


@contextmanager
def filmed(run: ModuleType) -> Iterator[list[torch.Tensor]]:
    """A run's frames as they are before they go into a file, which keeps 8 bits of them."""
    frames, write = [], run.write

    def watched(path, batches, *rest, **more):
        return write(path, (frames.append(batch) or batch for batch in batches), *rest, **more)

    with mock.patch.object(run, "write", watched):
        yield frames


class Loaded:
    """What the nodes before the sampler give, for half a second of noise."""

    @torch.inference_mode()
    def __init__(self, pack):
        nodes, (portrait, *masks) = pack.nodes, PICTURES
        picture = torch.from_numpy(np.array(Image.open(FOLDER / portrait).convert("RGB"))).float()[None] / 255
        sound = torch.randn(1, 1, 8_000, generator=torch.Generator().manual_seed(1)) / 10
        self.sampler, self.run = nodes.sampler.JoyHalloSampler, nodes.run
        self.model, self.encoder, faces, self.vae = nodes.load_models.LoadJoyHalloModels.execute(
            "demo", "demo", "none", "demo", "auto", False
        ).args
        self.face = nodes.face_mask_prep.FaceMaskPrep.execute(
            *(picture, "auto", "whole picture", 1.2, 2.0, "neutral"),
            face_analysis=faces,
            face_mask=mask(masks[0]),
            lip_mask=mask(masks[1]),
        ).args[0]
        self.speech = nodes.audio_encode.ChineseWav2Vec2Encode.execute(
            self.encoder, {"waveform": sound, "sample_rate": 16_000}, *HEARD_AS_IT_IS
        ).args[0]

    @torch.inference_mode()
    def frames(self) -> torch.Tensor:
        settings = (1, "exact", 2, 3.5, 1.0, 1.0, 1.0, 64, "square", False)
        with filmed(self.run) as frames:
            self.sampler.execute(self.model, self.vae, self.face, self.speech, *settings)
        return torch.cat(frames)

    def patchers(self) -> list:
        return [*self.model.patchers.values(), self.encoder.patcher, self.vae.patcher]
