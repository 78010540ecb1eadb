"""DenoisingUNet, which denoises a chunk of frames, guided by portrait, speech and the frames before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from ....diffusion.networks.attention import KeysValues
from ....diffusion.networks.blocks import Runner, UNet, at_once
from ....diffusion.networks.motion_module import MotionModule
from ....ops import Ops, TorchOps
from ..config import NetConfig
from .attention import Reading, TokenFold, spatial_transformer
from .audio_module import RegionFold, RegionGates, audio_module


@dataclass(frozen=True)
class ClipConditions:
    """Conditions that stay the same for a whole clip; the lists have one entry for each attention site."""

    references: list[KeysValues]  # (references, pixels, channels)
    faces: list[TokenFold]
    regions: list[RegionFold]
    locator: Tensor  # (rows, channels, height, width)


@dataclass(frozen=True)
class ChunkConditions:
    """Conditions that stay the same for all steps of a chunk; the lists have one entry for each attention site."""

    frames: int
    heard: list[list[KeysValues]]  # one frame's tokens per entry of the batch
    carried: list[Tensor]  # (rows, motion, pixels, channels)
    gates: list[RegionGates]


@dataclass(frozen=True)
class Conditions:
    """The conditions of a forward pass: the rows that run, in the clip's order, and what they read and hear.

    Rows without speech come first.
    """

    clip: ClipConditions
    chunk: ChunkConditions
    rows: slice
    readings: Sequence[Reading]
    hearing: bool = True


class DenoisingUNet(UNet):
    def __init__(self, config: NetConfig, ops: Ops = TorchOps):
        super().__init__(
            config, ops, config.latent_channels, lambda channels: spatial_transformer(channels, config, ops)
        )
        self.levels = config.attention_levels
        widths, deepest = config.channels, config.levels - 1
        # Some audio modules are narrower inside than their maps. The original sizes them by a stage's `in_channels`
        # instead, and the published weights have these shapes: on the way down the first module of a level has the
        # width of the level before, on the way up all of them have that of the next finer level. [] is a stage
        # without attention.
        inner_down = [[widths[max(level - 1, 0)], *[widths[level]] * (config.layers - 1)] for level in range(deepest)]
        inner_up = [[widths[max(level - 1, 0)]] * (config.layers + 1) for level in reversed(range(deepest))]
        inners = [*inner_down, [], [widths[-1]], [], *inner_up]
        for block, inner in zip([*self.down_blocks, self.mid_block, *self.up_blocks], inners, strict=True):
            if block.sites:
                block.audio_modules = nn.ModuleList([audio_module(block.channels, i, config, ops) for i in inner])
                block.motion_modules = nn.ModuleList([MotionModule(block.channels, config, ops) for _ in inner])
        self.conv_norm_out = ops.GroupNorm(config.norm_groups, widths[0], eps=1e-5)
        self.conv_out = ops.Conv2d(widths[0], config.latent_channels, 3, padding=1)

    def prepare_clip(self, references: list[Tensor], face_tokens: Tensor, locator: Tensor) -> ClipConditions:
        """Reference features per site (references, pixels, channels), face tokens and locator feature of every row."""
        spatial = [transformer.transformer_blocks[0] for transformer in self.site_transformers()]
        audio = [block.audio_modules[i].transformer_blocks[0] for block, i in self.site_blocks()]
        return ClipConditions(
            references=[b.attn1.keys_values(r) for b, r in zip(spatial, references, strict=True)],
            faces=[block.attn2.fold(face_tokens) for block in spatial],
            regions=[block.fold(face_tokens) for block in audio],
            locator=locator,
        )

    def prepare_chunk(
        self, audio_tokens: Tensor, motion_features: list[Tensor], gates: list[RegionGates], frames: int
    ) -> ChunkConditions:
        """Audio tokens (hearing rows * frames, tokens, width); motion features per site (rows, motion, pixels, ...)."""
        blocks = self.site_blocks()
        return ChunkConditions(
            frames=frames,
            heard=[block.audio_modules[i].transformer_blocks[0].listen(audio_tokens) for block, i in blocks],
            carried=[
                block.motion_modules[i].carry(features)
                for (block, i), features in zip(blocks, motion_features, strict=True)
            ],
            gates=gates,
        )

    def forward(
        self,
        latents: Tensor,
        timestep: Tensor,
        conditions: Conditions,
        shallow: int = 0,
        deep: Tensor | None = None,
        run: Runner = at_once,
    ) -> tuple[Tensor, Tensor | None]:
        """The velocity v of every row: (rows * frames, latent channels, height, width), and its deep features.

        Latents are given once for all rows (frames, ...) or for each (rows * frames, ...); the timestep likewise (1)
        or (rows). The deep features of these rows at another step, as `deep`, spare all but the last `shallow` layers.
        """
        clip, chunk, rows = conditions.clip, conditions.chunk, conditions.rows
        sites = self.site_blocks()

        def attend(site: int, x: Tensor) -> Tensor:
            block, index = sites[site]
            face = clip.faces[site].rows(rows)
            x = run(block.attentions[index])(x, face, clip.references[site], conditions.readings)
            heard = chunk.heard[site] if conditions.hearing else []
            gates = chunk.gates[self.levels[site]]
            x = run(block.audio_modules[index])(x, heard, clip.regions[site], gates, chunk.frames)
            return run(block.motion_modules[index])(x, chunk.carried[site][rows])

        x = self.conv_in(latents).unflatten(0, (-1, chunk.frames)) + clip.locator[rows, None]
        time = self.time_embedding(timestep, x.dtype)
        x, deep = self.walk(x.flatten(0, 1), time, self.at_sites(attend), shallow, deep, run)
        return self.leave(x), deep

    def still(
        self,
        latents: Tensor,
        timestep: Tensor,
        clip: ClipConditions,
        readings: Sequence[Reading],
        run: Runner = at_once,
    ) -> Tensor:
        """The velocity of single pictures (rows, ...), without speech and motion, as in the first stage of training."""
        sites = self.site_transformers()

        def attend(site: int, x: Tensor) -> Tensor:
            return run(sites[site])(x, clip.faces[site], clip.references[site], readings)

        x = self.conv_in(latents) + clip.locator
        x, _ = self.walk(x, self.time_embedding(timestep, x.dtype), self.at_sites(attend), run=run)
        return self.leave(x)

    def leave(self, x: Tensor) -> Tensor:
        return self.conv_out(nn.functional.silu(self.conv_norm_out(x)))
