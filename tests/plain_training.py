"""A step of training written down naively, a sample at a time and a frame at a time: what ours is compared with.

Everything is tiled, nothing is folded, grouped or kept; of the package only the weights are used, by their names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass
class PlainSample:
    pictures: Tensor  # (1 + motion + frames, channels, h, w): latents of reference, motion frames and frames
    noise: Tensor  # (frames, channels, h, w)
    timestep: int
    identity: Tensor
    known_faces: list[bool]
    locator: Tensor  # (3, H, W)
    masks: list[Tensor]  # per level (3, pixels)
    windows: Tensor | None  # (frames, window, layers, channels)
    reads: bool = True
    motion: bool = True
    face: bool = True
    locates: bool = True
    hears: bool = True


class PlainNet:
    def __init__(self, weights: Mapping[str, Tensor], heads: int, groups: int):
        self.weights, self.heads, self.groups = weights, heads, groups

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

    def attention(self, name: str, x: Tensor, context: Tensor) -> Tensor:
        """x (queries, width), context (keys, width)"""
        q, k, v = (
            self.linear(f"{name}.to_{part}", given) for part, given in zip("qkv", (x, context, context), strict=True)
        )
        outputs = []
        for head in range(self.heads):
            width = q.shape[-1] // self.heads
            part = slice(head * width, (head + 1) * width)
            scores = torch.softmax(q[:, part] @ k[:, part].T / math.sqrt(width), dim=-1)
            outputs.append(scores @ v[:, part])
        return self.linear(f"{name}.to_out.0", torch.cat(outputs, -1))

    def feed_forward(self, name: str, x: Tensor) -> Tensor:
        value, gate = self.linear(f"{name}.net.0.proj", x).chunk(2, dim=-1)
        return self.linear(f"{name}.net.2", value * F.gelu(gate))

    def resnet(self, name: str, x: Tensor, time: Tensor) -> Tensor:
        h = self.conv(f"{name}.conv1", F.silu(self.group_norm(f"{name}.norm1", x, 1e-5)))
        h = h + self.linear(f"{name}.time_emb_proj", F.silu(time))[:, :, None, None]
        h = self.conv(f"{name}.conv2", F.silu(self.group_norm(f"{name}.norm2", h, 1e-5)))
        return h + (self.conv(f"{name}.conv_shortcut", x) if self.has(f"{name}.conv_shortcut") else x)

    def transformer(self, name: str, x: Tensor, block: Callable[[Tensor], Tensor]) -> Tensor:
        """A single picture (1, c, h, w); `block` takes and gives its tokens (pixels, width)."""
        h = self.conv(f"{name}.proj_in", self.group_norm(f"{name}.norm", x, 1e-6))
        tokens = block(h[0].flatten(1).T)
        return x + self.conv(f"{name}.proj_out", tokens.T.reshape(1, -1, *x.shape[2:]))

    def spatial(self, name: str, x: Tensor, face: Tensor, reference: Tensor | None, seen: list[Tensor]) -> Tensor:
        inner = f"{name}.transformer_blocks.0"

        def block(tokens: Tensor) -> Tensor:
            normed = self.layer_norm(f"{inner}.norm1", tokens)
            seen.append(normed)
            context = normed if reference is None else torch.cat([normed, reference])
            tokens = tokens + self.attention(f"{inner}.attn1", normed, context)
            tokens = tokens + self.attention(f"{inner}.attn2", self.layer_norm(f"{inner}.norm2", tokens), face)
            return tokens + self.feed_forward(f"{inner}.ff", self.layer_norm(f"{inner}.norm3", tokens))

        return self.transformer(name, x, block)

    def audio(self, name: str, x: Tensor, heard: Tensor, masks: Tensor) -> Tensor:
        inner = f"{name}.transformer_blocks.0"

        def block(tokens: Tensor) -> Tensor:
            normed = self.layer_norm(f"{inner}.norm1", tokens)
            tokens = tokens + self.attention(f"{inner}.attn1", normed, normed)
            found = self.attention(f"{inner}.attn2_0", self.layer_norm(f"{inner}.norm2", tokens), heard)
            for mask, region in zip(masks, ("full", "face", "lip"), strict=True):
                weight = self.weights[f"{inner}.zero_conv_{region}.weight"].flatten(1)
                tokens = tokens + (found * mask[:, None]) @ weight.T + self.weights[f"{inner}.zero_conv_{region}.bias"]
            return tokens + self.feed_forward(f"{inner}.ff", self.layer_norm(f"{inner}.norm3", tokens))

        return self.transformer(name, x, block)

    def moved(self, name: str, x: Tensor, before: Tensor) -> Tensor:
        """x (frames, c, h, w), before (motion, pixels, c)"""
        name = f"{name}.temporal_transformer"
        _, channels, height, width = x.shape
        motion = before.transpose(1, 2).reshape(len(before), channels, height, width)
        every = torch.cat([motion, x])
        tokens = self.group_norm(f"{name}.norm", every, 1e-6).flatten(2).permute(2, 0, 1)  # (pixels, time, c)
        sequences = []
        for sequence in self.linear(f"{name}.proj_in", tokens):
            inner = f"{name}.transformer_blocks.0"
            for index in range(2):
                attention = f"{inner}.attention_blocks.{index}"
                normed = self.layer_norm(f"{inner}.norms.{index}", sequence)
                normed = normed + self.weights[f"{attention}.pos_encoder.pe"][0, : len(normed)]
                sequence = sequence + self.attention(attention, normed, normed)
            sequence = sequence + self.feed_forward(f"{inner}.ff", self.layer_norm(f"{inner}.ff_norm", sequence))
            sequences.append(self.linear(f"{name}.proj_out", sequence))
        out = torch.stack(sequences).permute(1, 2, 0).reshape(every.shape)
        return (every + out)[len(before) :]

    def unet(self, prefix: str, x: Tensor, timestep: int, site: Callable[[str, int, Tensor], Tensor]) -> Tensor:
        """`site(block, index, x)` is what follows a resnet where there is attention."""
        half = self.weights[f"{prefix}.time_embedding.linear_1.weight"].shape[1] // 2
        angles = timestep * torch.exp(-math.log(10000) * torch.arange(half) / half)
        time = torch.cat([angles.cos(), angles.sin()])[None]
        time = self.linear(f"{prefix}.time_embedding.linear_1", time)
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

    # ---- a sample

    def face_tokens(self, identity: Tensor) -> Tensor:
        width = len(self.weights["imageproj.norm.weight"])
        return self.layer_norm("imageproj.norm", self.linear("imageproj.proj", identity).view(-1, width))

    def heard(self, window: Tensor) -> Tensor:
        x = F.relu(self.linear("audioproj.proj1", window.flatten()))
        x = F.relu(self.linear("audioproj.proj2", x))
        return self.layer_norm("audioproj.norm", self.linear("audioproj.proj3", x).view(-1, self.audio_width))

    @property
    def audio_width(self) -> int:
        return len(self.weights["audioproj.norm.weight"])

    def located(self, picture: Tensor) -> Tensor:
        x, index = F.silu(self.conv("face_locator.conv_in", picture[None])), 0
        while self.has(f"face_locator.blocks.{index}"):
            x = F.silu(self.conv(f"face_locator.blocks.{index}", x, stride=1 + index % 2))
            index += 1
        return self.conv("face_locator.conv_out", x)

    def features(self, picture: Tensor, face: Tensor) -> list[Tensor]:
        seen: list[Tensor] = []
        x = self.conv("reference_unet.conv_in", picture[None])
        self.unet("reference_unet", x, 0, lambda b, i, x: self.spatial(f"{b}.attentions.{i}", x, face, None, seen))
        return seen

    def velocity(self, sample: PlainSample, noisy: Tensor) -> Tensor:
        nobody = self.face_tokens(torch.zeros_like(sample.identity))
        identified = self.face_tokens(sample.identity)
        count = len(sample.known_faces)
        banks = [
            self.features(picture, identified if known else nobody)
            for picture, known in zip(sample.pictures[:count], sample.known_faces, strict=True)
        ]
        face = identified if sample.face else nobody
        located = self.located(sample.locator) if sample.locates else 0
        sites: list[str] = []

        def site(block: str, index: int, x: Tensor) -> Tensor:
            name = f"{block}.attentions.{index}"
            at = len(sites)
            sites.append(name)
            reference = banks[0][at] if sample.reads else None
            x = torch.cat([self.spatial(name, frame[None], face, reference, []) for frame in x])
            if sample.windows is None:
                return x
            masks = next(mask for mask in sample.masks if mask.shape[1] == x.shape[2] * x.shape[3])
            tokens = [self.heard(w) * (1.0 if sample.hears else 0.0) for w in sample.windows]
            audio = f"{block}.audio_modules.{index}"
            x = torch.cat([self.audio(audio, f[None], t, masks) for f, t in zip(x, tokens, strict=True)])
            before = torch.stack([bank[at] for bank in banks[1:]]) * (1.0 if sample.motion else 0.0)
            return self.moved(f"{block}.motion_modules.{index}", x, before)

        x = self.conv("denoising_unet.conv_in", noisy) + located
        x = self.unet("denoising_unet", x, sample.timestep, site)
        x = F.silu(self.group_norm("denoising_unet.conv_norm_out", x, 1e-5))
        return self.conv("denoising_unet.conv_out", x)

    def loss(self, sample: PlainSample, kept: Tensor, gamma: float, lip_weight: float = 1.0) -> Tensor:
        """kept: the share of the signal's power at each timestep"""
        a = kept[sample.timestep]
        frames = sample.pictures[len(sample.known_faces) :]
        noisy = a.sqrt() * frames + (1 - a).sqrt() * sample.noise
        target = a.sqrt() * sample.noise - (1 - a).sqrt() * frames
        weights = 1 + (lip_weight - 1) * sample.masks[0][2].view(frames.shape[2:])
        error = ((self.velocity(sample, noisy) - target) ** 2 * weights).mean()
        snr = a / (1 - a) + 1
        return error * min(snr, gamma) / snr
