"""What the sampler shows of its work: steps done, and a face that moves."""

from __future__ import annotations

import comfy.latent_formats
import comfy.model_management
import comfy.utils
import latent_preview
import torch
from PIL import Image
from torch import Tensor

from ..joyhallo.sampling import Progress


class Preview:
    """Counts the steps of the whole clip and shows one frame after another, so that the face is seen to move.

    With previews switched on in ComfyUI these are the frames that the current step points at, else those that were
    last finished.
    """

    def __init__(self, picture: Tensor, channels: int, device: torch.device):
        """picture (3, height, width) in -1..1 is shown until there is more."""
        latents = comfy.latent_formats.SD15()
        known = channels == latents.latent_channels
        self.previewer = latent_preview.get_previewer(device, latents) if known else None
        self.finished = picture[None] / 2 + 0.5
        self.bar = comfy.utils.ProgressBar(1)  # the first step tells how many there are

    def after_step(self, progress: Progress) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        self.bar.update_absolute(progress.done, progress.total, self._shown(progress))

    def _shown(self, progress: Progress) -> tuple:
        if self.previewer is not None:
            frame = progress.done % len(progress.estimate)
            return self.previewer.decode_latent_to_preview_image("JPEG", progress.estimate[frame : frame + 1])
        frame = self.finished[progress.done % len(self.finished)]
        return "JPEG", as_image(frame), latent_preview.MAX_PREVIEW_RESOLUTION


def as_image(frame: Tensor) -> Image.Image:
    """(3, height, width) in 0..1"""
    return Image.fromarray((frame.clamp(0, 1) * 255).byte().movedim(0, -1).cpu().numpy())
