"""A guided step written plainly, as the original computes it: ours is compared with it in numbers and in time.

All conditions are tiled for all frames and projected anew in each step, and nothing is folded, shared or left out: the
row without speech hears silence, and its own attention is computed beside the one that it does not use.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from joyhallo.methods.hallo.sampling import Sampler

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "helpers"))
from plain_training import PlainNet

UNET = "denoising_unet"


@dataclass(frozen=True)
class Given:
    """What every step gets, for both rows of frames: (2 * frames, ...)."""

    face: Tensor
    references: list[Tensor]  # for each attention site
    motion: list[Tensor]  # for each attention site (rows, motion, pixels, channels)
    speech: Tensor  # what is heard, before its projections; silence first
    masks: list[Tensor]  # for each level (2 * frames, 3, pixels)
    locator: Tensor

    @classmethod
    def of(cls, sampler: Sampler, windows: Tensor) -> Given:
        """From the same features as ours: only the step itself is compared."""
        frames = len(windows)
        tokens = sampler.net.audioproj(sampler.here(windows))
        read = [(frames + frame) % 2 for frame in range(frames)]  # the conditional frames' portraits
        references = [features[sampler.reference_tokens] for features in sampler.portrait_features]
        return cls(
            face=sampler.face_tokens.repeat_interleave(frames, 0),
            references=[torch.cat([r[:1].expand(frames, -1, -1), r[read]]) for r in references],
            motion=sampler.motion_features(None),
            speech=torch.cat([torch.zeros_like(tokens), tokens]),
            masks=[sampler.here(mask).expand(2 * frames, -1, -1) for mask in sampler.portrait.masks],
            locator=sampler.clip.locator.repeat_interleave(frames, 0),
        )


class PlainStep(PlainNet):
    def group_norm(self, name: str, x: Tensor, eps: float) -> Tensor:
        return F.group_norm(x, self.groups, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], eps)

    def layer_norm(self, name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def attention(self, name: str, x: Tensor, context: Tensor, hidden: Tensor | None = None) -> Tensor:
        projected = (self.linear(f"{name}.to_{part}", x if part == "q" else context) for part in "qkv")
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in projected)
        return self.linear(f"{name}.to_out.0", F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))

    def reading(self, name: str, x: Tensor, face: Tensor, references: Tensor) -> Tensor:
        """Frames see their references, too; of the first half what they see of themselves alone is taken instead."""
        inner = f"{name}.transformer_blocks.0"

        def block(tokens: Tensor) -> Tensor:
            normed = self.layer_norm(f"{inner}.norm1", tokens)
            seen = self.attention(f"{inner}.attn1", normed, torch.cat([normed, references], 1))
            alone = normed[: len(x) // 2]
            seen[: len(alone)] = self.attention(f"{inner}.attn1", alone, alone)
            tokens = tokens + seen
            tokens = tokens + self.attention(f"{inner}.attn2", self.layer_norm(f"{inner}.norm2", tokens), face)
            return tokens + self.feed_forward(f"{inner}.ff", self.layer_norm(f"{inner}.norm3", tokens))

        return self.transformer(name, x, block)

    def step(self, latents: Tensor, timestep: int, given: Given) -> Tensor:
        """latents (frames, c, h, w) -> both rows (2 * frames, c, h, w)"""
        sites: list[str] = []
        masks = {mask.shape[2]: mask for mask in given.masks}

        def site(block: str, index: int, x: Tensor) -> Tensor:
            number = len(sites)
            sites.append(block)
            x = self.reading(f"{block}.attentions.{index}", x, given.face, given.references[number])
            x = self.audio(f"{block}.audio_modules.{index}", x, given.speech, masks[x.shape[2] * x.shape[3]])
            return self.moved(f"{block}.motion_modules.{index}", x, given.motion[number])

        x = self.conv(f"{UNET}.conv_in", latents.to(given.locator).repeat(2, 1, 1, 1)) + given.locator
        moments = torch.full((len(x),), float(timestep), device=x.device)
        x = self.unet(UNET, x, moments, site)
        return self.conv(f"{UNET}.conv_out", F.silu(self.group_norm(f"{UNET}.conv_norm_out", x, 1e-5)))
