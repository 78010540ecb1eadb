"""A step of training written down plainly: what ours is compared with, in its numbers by tests, in its time by
benchmarks/training.py.

Everything is tiled for every frame, nothing is folded, shared or kept. Of the package only the weights are used, by
their names, and the batch's fields.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint


class PlainNet:
    """Frames are folded into the batch: maps (frames, c, h, w), tokens (frames, pixels, width)."""

    def __init__(self, weights: Mapping[str, Tensor], heads: int, groups: int, forgetful: bool = False):
        self.weights, self.heads, self.groups, self.forgetful = weights, heads, groups, forgetful

    def has(self, name: str) -> bool:
        return f"{name}.weight" in self.weights

    def linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias"))

    def conv(self, name: str, x: Tensor, stride: int = 1) -> Tensor:
        weight = self.weights[f"{name}.weight"]
        return F.conv2d(x, weight, self.weights[f"{name}.bias"], stride, weight.shape[-1] // 2)

    def group_norm(self, name: str, x: Tensor, eps: float) -> Tensor:
        n, c, h, w = x.shape
        grouped = x.reshape(n, self.groups, -1)
        grouped = (grouped - grouped.mean(2, keepdim=True)) / (grouped.var(2, correction=0, keepdim=True) + eps).sqrt()
        weight, bias = (self.weights[f"{name}.{part}"].view(1, c, 1, 1) for part in ("weight", "bias"))
        return grouped.view(n, c, h, w) * weight + bias

    def layer_norm(self, name: str, x: Tensor) -> Tensor:
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
        return x * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def attention(self, name: str, x: Tensor, context: Tensor, hidden: Tensor | None = None) -> Tensor:
        """hidden (frames, keys): those that are not seen"""
        projected = (self.linear(f"{name}.to_{part}", x if part == "q" else context) for part in "qkv")
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in projected)
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        if hidden is not None:
            scores = scores.masked_fill(hidden[:, None, None], -math.inf)
        return self.linear(f"{name}.to_out.0", (torch.softmax(scores, -1) @ v).transpose(1, 2).flatten(2))

    def feed_forward(self, name: str, x: Tensor) -> Tensor:
        value, gate = self.linear(f"{name}.net.0.proj", x).chunk(2, dim=-1)
        return self.linear(f"{name}.net.2", value * F.gelu(gate))

    def resnet(self, name: str, x: Tensor, time: Tensor) -> Tensor:
        h = self.conv(f"{name}.conv1", F.silu(self.group_norm(f"{name}.norm1", x, 1e-5)))
        h = h + self.linear(f"{name}.time_emb_proj", F.silu(time))[:, :, None, None]
        h = self.conv(f"{name}.conv2", F.silu(self.group_norm(f"{name}.norm2", h, 1e-5)))
        return h + (self.conv(f"{name}.conv_shortcut", x) if self.has(f"{name}.conv_shortcut") else x)

    def transformer(self, name: str, x: Tensor, block: Callable[[Tensor], Tensor]) -> Tensor:
        h = self.conv(f"{name}.proj_in", self.group_norm(f"{name}.norm", x, 1e-6))
        tokens = block(h.flatten(2).transpose(1, 2))
        return x + self.conv(f"{name}.proj_out", tokens.transpose(1, 2).unflatten(2, x.shape[2:]))

    def spatial(
        self, name: str, x: Tensor, face: Tensor, reference: Tensor | None, reads: Tensor | None, seen: list[Tensor]
    ) -> Tensor:
        """face (frames, tokens, width), reference (frames, pixels, width), reads (frames)"""
        inner = f"{name}.transformer_blocks.0"

        def block(tokens: Tensor) -> Tensor:
            normed = self.layer_norm(f"{inner}.norm1", tokens)
            seen.append(normed)
            context, hidden = normed, None
            if reference is not None and reads is not None:
                context = torch.cat([normed, reference], 1)
                hidden = torch.zeros(context.shape[:2], dtype=torch.bool)
                hidden[:, normed.shape[1] :] = ~reads[:, None]
            tokens = tokens + self.attention(f"{inner}.attn1", normed, context, hidden)
            tokens = tokens + self.attention(f"{inner}.attn2", self.layer_norm(f"{inner}.norm2", tokens), face)
            return tokens + self.feed_forward(f"{inner}.ff", self.layer_norm(f"{inner}.norm3", tokens))

        return self.transformer(name, x, block)

    def audio(self, name: str, x: Tensor, heard: Tensor, masks: Tensor) -> Tensor:
        """heard (frames, tokens, width), masks (frames, 3, pixels)"""
        inner = f"{name}.transformer_blocks.0"

        def block(tokens: Tensor) -> Tensor:
            normed = self.layer_norm(f"{inner}.norm1", tokens)
            tokens = tokens + self.attention(f"{inner}.attn1", normed, normed)
            found = self.attention(f"{inner}.attn2_0", self.layer_norm(f"{inner}.norm2", tokens), heard)
            for mask, region in zip(masks.unbind(1), ("full", "face", "lip"), strict=True):
                weight = self.weights[f"{inner}.zero_conv_{region}.weight"].flatten(1)
                tokens = (
                    tokens + (found * mask[..., None]) @ weight.T + self.weights[f"{inner}.zero_conv_{region}.bias"]
                )
            return tokens + self.feed_forward(f"{inner}.ff", self.layer_norm(f"{inner}.norm3", tokens))

        return self.transformer(name, x, block)

    def moved(self, name: str, x: Tensor, before: Tensor) -> Tensor:
        """x (rows * frames, c, h, w), before (rows, motion, pixels, c)"""
        name, (rows, motion) = f"{name}.temporal_transformer", before.shape[:2]
        shape = x.shape[1:]
        every = torch.cat([before.transpose(2, 3).unflatten(3, shape[1:]), x.unflatten(0, (rows, -1))], 1)
        tokens = self.group_norm(f"{name}.norm", every.flatten(0, 1), 1e-6).unflatten(0, every.shape[:2])
        tokens = tokens.flatten(3).permute(0, 3, 1, 2).flatten(0, 1)  # (rows * pixels, time, c)
        sequence, inner = self.linear(f"{name}.proj_in", tokens), f"{name}.transformer_blocks.0"
        for index in range(2):
            attention = f"{inner}.attention_blocks.{index}"
            normed = self.layer_norm(f"{inner}.norms.{index}", sequence)
            normed = normed + self.weights[f"{attention}.pos_encoder.pe"][:, : normed.shape[1]]
            sequence = sequence + self.attention(attention, normed, normed)
        sequence = sequence + self.feed_forward(f"{inner}.ff", self.layer_norm(f"{inner}.ff_norm", sequence))
        out = self.linear(f"{name}.proj_out", sequence).unflatten(0, (rows, -1)).permute(0, 2, 3, 1)
        return (every + out.unflatten(3, shape[1:]))[:, motion:].flatten(0, 1)

    def unet(self, prefix: str, x: Tensor, timestep: Tensor, site: Callable[[str, int, Tensor], Tensor]) -> Tensor:
        """timestep (frames); `site(block, index, x)` is what follows a resnet where there is attention."""
        half = self.weights[f"{prefix}.time_embedding.linear_1.weight"].shape[1] // 2
        angles = timestep[:, None] * torch.exp(-math.log(10000) * torch.arange(half, device=x.device) / half)
        waves = torch.cat([angles.cos(), angles.sin()], 1).to(x.dtype)
        time = self.linear(f"{prefix}.time_embedding.linear_1", waves)
        time = self.linear(f"{prefix}.time_embedding.linear_2", F.silu(time))

        def layer(block: str, index: int, x: Tensor) -> Tensor:
            x = self.resnet(f"{block}.resnets.{index}", x, time)
            return site(block, index, x) if self.has(f"{block}.attentions.{index}.norm") else x

        skips, level = [x], 0
        while self.has(f"{prefix}.down_blocks.{level}.resnets.0.norm1"):
            block, index = f"{prefix}.down_blocks.{level}", 0
            while self.has(f"{block}.resnets.{index}.norm1"):
                x = layer(block, index, x)
                skips.append(x)
                index += 1
            if self.has(f"{block}.downsamplers.0.conv"):
                x = self.conv(f"{block}.downsamplers.0.conv", x, stride=2)
                skips.append(x)
            level += 1
        x = layer(f"{prefix}.mid_block", 0, x)
        x = self.resnet(f"{prefix}.mid_block.resnets.1", x, time)
        for up in range(level):
            block, index = f"{prefix}.up_blocks.{up}", 0
            while self.has(f"{block}.resnets.{index}.norm1"):
                x = layer(block, index, torch.cat([x, skips.pop()], 1))
                index += 1
            if self.has(f"{block}.upsamplers.0.conv"):
                x = self.conv(f"{block}.upsamplers.0.conv", F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return x

    # ---- a batch

    def face_tokens(self, identity: Tensor) -> Tensor:
        width = len(self.weights["imageproj.norm.weight"])
        return self.layer_norm("imageproj.norm", self.linear("imageproj.proj", identity).unflatten(-1, (-1, width)))

    def heard(self, windows: Tensor) -> Tensor:
        """(frames, window, layers, channels) -> (frames, tokens, width)"""
        x = F.relu(self.linear("audioproj.proj1", windows.flatten(1)))
        x = F.relu(self.linear("audioproj.proj2", x))
        width = len(self.weights["audioproj.norm.weight"])
        return self.layer_norm("audioproj.norm", self.linear("audioproj.proj3", x).unflatten(-1, (-1, width)))

    def located(self, pictures: Tensor) -> Tensor:
        x, index = F.silu(self.conv("face_locator.conv_in", pictures)), 0
        while self.has(f"face_locator.blocks.{index}"):
            x = F.silu(self.conv(f"face_locator.blocks.{index}", x, stride=1 + index % 2))
            index += 1
        return self.conv("face_locator.conv_out", x)

    def features(self, pictures: Tensor, face: Tensor) -> list[Tensor]:
        seen: list[Tensor] = []
        x, still = self.conv("reference_unet.conv_in", pictures), torch.zeros(len(pictures))

        def site(block: str, index: int, x: Tensor) -> Tensor:
            return self.spatial(f"{block}.attentions.{index}", x, face, None, None, seen)

        self.unet("reference_unet", x, still, site)
        return seen

    def velocity(self, batch: Any, references: Tensor, noisy: Tensor) -> Tensor:
        """references (rows, 1 + motion, c, h, w), noisy (rows, frames, c, h, w) -> as noisy"""
        rows, frames = noisy.shape[:2]
        given, count = batch.given, references.shape[1]
        identified, nobody = self.face_tokens(batch.identity), self.face_tokens(torch.zeros_like(batch.identity))
        known = batch.known_faces[..., None, None]
        looked = torch.where(known, identified[:, None], nobody[:, None])
        banks = [f.unflatten(0, (rows, count)) for f in self.features(references.flatten(0, 1), looked.flatten(0, 1))]

        def each(x: Tensor) -> Tensor:
            return x.repeat_interleave(frames, 0)

        face = each(torch.where(given.face[:, None, None], identified, nobody))
        located = each(self.located(batch.locator) * given.locator[:, None, None, None])
        tokens = None
        if batch.windows.numel():
            tokens = self.heard(batch.windows.flatten(0, 1)) * each(given.audio)[:, None, None]
        sites: list[str] = []

        def site(block: str, index: int, x: Tensor) -> Tensor:
            bank = banks[len(sites)]
            sites.append(block)

            def run(x: Tensor) -> Tensor:
                x = self.spatial(f"{block}.attentions.{index}", x, face, each(bank[:, 0]), each(given.reads), [])
                if tokens is None:
                    return x
                masks = next(mask for mask in batch.masks if mask.shape[2] == x.shape[2] * x.shape[3])
                x = self.audio(f"{block}.audio_modules.{index}", x, tokens, each(masks))
                return self.moved(f"{block}.motion_modules.{index}", x, bank[:, 1:] * given.motion[:, None, None, None])

            return checkpoint(run, x, use_reentrant=False) if self.forgetful else run(x)  # type: ignore[return-value]

        x = self.conv("denoising_unet.conv_in", noisy.flatten(0, 1)) + located
        x = self.unet("denoising_unet", x, each(batch.timestep), site)
        x = F.silu(self.group_norm("denoising_unet.conv_norm_out", x, 1e-5))
        return self.conv("denoising_unet.conv_out", x).unflatten(0, (rows, frames))

    def losses(self, batch: Any, latents: Tensor, kept: Tensor, gamma: float, lip_weight: float = 1.0) -> list[Tensor]:
        """One of each sample. kept: the share of the signal's power at each timestep"""
        count = batch.known_faces.shape[1]
        clean = latents[:, count:]
        a = kept[batch.timestep][:, None, None, None, None]
        predicted = self.velocity(batch, latents[:, :count], a.sqrt() * clean + (1 - a).sqrt() * batch.noise)
        target = a.sqrt() * batch.noise - (1 - a).sqrt() * clean
        found = []
        for row, timestep in enumerate(batch.timestep):
            weights = 1 + (lip_weight - 1) * batch.masks[0][row, 2].view(clean.shape[3:])
            error = ((predicted[row] - target[row]) ** 2 * weights).mean()
            snr = kept[timestep] / (1 - kept[timestep]) + 1
            found.append(error * min(snr, gamma) / snr)
        return found
