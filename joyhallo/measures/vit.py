"""The vision transformers whose features VBench compares: DINO's ViT-B/16 and CLIP's ViT-B/32.

`open_dino` and `open_clip` take the files of their authors, of timm, of open_clip and of Hugging Face. Names here are
those of DINO's own file, and timm's for what CLIP has beside it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..files.checkpoint import PREFIX, Checkpoint, State, check, check_floats, shapes
from ..files.contents import KINDS, Kind, WeightsError, looks_like
from ..files.weights import open_weights
from ..ops import Ops, TorchOps

MARGIN = 0.1  # patches that DINO adds to each side before it divides, so that no row is lost to rounding


def quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


@dataclass(frozen=True)
class Sizes:
    patch: int  # pixels
    grid: int  # patches along each side of the pictures that positions were learned of
    epsilon: float
    activation: Callable[[Tensor], Tensor]
    projected: int = 0  # numbers of CLIP's features; before the blocks it has a norm, and its patches have no bias
    width: int = 768
    blocks: int = 12
    heads: int = 12
    inner: int = 3072


DINO = Sizes(patch=16, grid=14, epsilon=1e-6, activation=F.gelu)
CLIP = Sizes(patch=32, grid=7, epsilon=1e-5, activation=quick_gelu, projected=512)


# ---- the network


class Attention(nn.Module):
    def __init__(self, sizes: Sizes, ops: Ops):
        super().__init__()
        self.ops, self.heads = ops, sizes.heads
        self.qkv = ops.Linear(sizes.width, 3 * sizes.width)
        self.proj = ops.Linear(sizes.width, sizes.width)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(self.ops.attention(*self.qkv(x).chunk(3, dim=-1), self.heads))


class FeedForward(nn.Module):
    def __init__(self, sizes: Sizes, ops: Ops):
        super().__init__()
        self.fc1 = ops.Linear(sizes.width, sizes.inner)
        self.fc2 = ops.Linear(sizes.inner, sizes.width)
        self.activation = sizes.activation

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.activation(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, sizes: Sizes, ops: Ops):
        super().__init__()
        self.norm1 = ops.LayerNorm(sizes.width, eps=sizes.epsilon)
        self.attn = Attention(sizes, ops)
        self.norm2 = ops.LayerNorm(sizes.width, eps=sizes.epsilon)
        self.mlp = FeedForward(sizes, ops)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    cls_token: Tensor
    pos_embed: Tensor

    def __init__(self, sizes: Sizes, ops: Ops = TorchOps):
        super().__init__()
        self.sizes, width = sizes, sizes.width
        self.register_buffer("cls_token", torch.empty(1, width))
        self.register_buffer("pos_embed", torch.empty(1 + sizes.grid**2, width))
        patches = ops.Conv2d(3, width, sizes.patch, sizes.patch, bias=not sizes.projected)
        self.patch_embed = nn.ModuleDict({"proj": patches})
        self.norm_pre = ops.LayerNorm(width, eps=sizes.epsilon) if sizes.projected else nn.Identity()
        self.blocks = nn.ModuleList(Block(sizes, ops) for _ in range(sizes.blocks))
        self.norm = ops.LayerNorm(width, eps=sizes.epsilon)
        self.head = ops.Linear(width, sizes.projected, bias=False) if sizes.projected else nn.Identity()

    def forward(self, pictures: Tensor) -> Tensor:
        """pictures (n, 3, height, width), prepared as the network knows them -> features (n, width or projected)"""
        patches = self.patch_embed["proj"](pictures)
        first = self.cls_token.to(patches).expand(len(patches), 1, -1)
        x = torch.cat([first, patches.flatten(2).transpose(1, 2)], dim=1)
        rows, columns = patches.shape[2:]
        square = pictures.shape[2] == pictures.shape[3]
        x = self.norm_pre(x + self.positions(rows, columns, square).to(x))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x[:, 0]))

    def positions(self, rows: int, columns: int, square: bool) -> Tensor:
        """(1 + rows * columns, width), as DINO stretches them. square: whether the picture is, to the pixel.

        Others are stretched even where they have as many patches; by the factor, to which the margin belongs.
        """
        grid = self.sizes.grid
        if square and rows * columns == grid**2:
            return self.pos_embed
        first, others = self.pos_embed.float().split([1, grid**2])
        factors = (rows + MARGIN) / grid, (columns + MARGIN) / grid
        learned = others.T.reshape(1, -1, grid, grid)
        stretched = F.interpolate(learned, scale_factor=factors, mode="bicubic", align_corners=False)
        return torch.cat([first, stretched.flatten(2)[0].T])


# ---- files


@dataclass(frozen=True)
class Spelling:
    """How files of a network name its tensors, in all their ways: patterns and what becomes of them, in this order."""

    kind: Kind
    sizes: Sizes
    wanted: str
    ignored: str  # names of what features do not need
    ours: tuple[tuple[str, str], ...]


DINO_SPELLING = Spelling(
    Kind("a ViT such as DINO's", (r"(module\.)?(vit\.)?(cls_token|embeddings\.cls_token)$",)),
    DINO,
    "DINO's ViT-B/16: dino_vitbase16_pretrain.pth, or the file of facebook/dino-vitb16 or of timm.",
    r"(vit\.)?(head|pooler|classifier)\.",
    (
        (r"^vit\.", ""),
        (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
        (r"^embeddings\.position_embeddings$", "pos_embed"),
        (r"^embeddings\.", ""),
        (r"^(encoder\.layer|layers)\.(\d+)\.", r"blocks.\2."),
        (r"\.layernorm_before\.", ".norm1."),
        (r"\.layernorm_after\.", ".norm2."),
        (r"\.attention\.(attention\.)?(q|k|v)(uery|ey|alue|_proj)\.", r".attn.\2."),
        (r"\.attention\.(output\.dense|o_proj)\.", ".attn.proj."),
        (r"\.intermediate\.dense\.", ".mlp.fc1."),
        (r"\.output\.dense\.", ".mlp.fc2."),
        (r"^layernorm\.", "norm."),
    ),
)
CLIP_SPELLING = Spelling(
    Kind("a CLIP", (r"(module\.)?(visual\.class_embedding|vision_model\.embeddings\.class_embedding)$",)),
    CLIP,
    "OpenAI's CLIP ViT-B/32: ViT-B-32.pt, or the file of openai/clip-vit-base-patch32 or of open_clip.",
    r"(?!visual|vision_model\.)|vision_model\.embeddings\.position_ids$",
    (
        (r"^visual_projection\.", "head."),
        (r"^visual\.proj$", "proj"),
        (r"^(visual|vision_model)\.", ""),
        (r"^(embeddings\.)?class_embedding$", "cls_token"),
        (r"^positional_embedding$|^embeddings\.position_embedding\.weight$", "pos_embed"),
        (r"^(conv1|embeddings\.patch_embedding)\.", "patch_embed.proj."),
        (r"^(ln_pre|pre_layrnorm)\.", "norm_pre."),
        (r"^(ln_post|post_layernorm)\.", "norm."),
        (r"^(transformer\.resblocks|encoder\.layers)\.(\d+)\.", r"blocks.\2."),
        (r"\.(ln_|layer_norm)(1|2)\.", r".norm\2."),
        (r"\.attn\.in_proj_", ".attn.qkv."),
        (r"\.self_attn\.(q|k|v)_proj\.", r".attn.\1."),
        (r"\.(self_)?attn\.out_proj\.", ".attn.proj."),
        (r"\.mlp\.c_fc\.", ".mlp.fc1."),
        (r"\.mlp\.c_proj\.", ".mlp.fc2."),
    ),
)
SPELLINGS = (CLIP_SPELLING, DINO_SPELLING)


def open_dino(path: str | Path) -> Checkpoint[ViT]:
    """Open DINO's ViT-B/16, or raise a WeightsError that says what the file is instead."""
    return opened(Path(path), DINO_SPELLING)


def open_clip(path: str | Path) -> Checkpoint[ViT]:
    """Open the pictures' half of OpenAI's CLIP ViT-B/32, or raise a WeightsError that says what the file is instead.

    Others' ViT-B/32 have the same names and sizes, such as LAION's, but another activation: no file tells.
    """
    return opened(Path(path), CLIP_SPELLING)


def opened(path: Path, spelling: Spelling) -> Checkpoint[ViT]:
    state, _ = open_weights(path, spelling.wanted)
    if not spelling.kind.fits(state):
        found = looks_like(state, (*(other.kind for other in SPELLINGS), *KINDS))
        raise WeightsError(f"{path.name} looks like {found}. Expected {spelling.wanted}")
    state = named(state, spelling)
    check_floats(path, state, spelling.wanted)
    expected = shapes(lambda: ViT(spelling.sizes))
    check(path, joined({key: tensor.to("meta") for key, tensor in state.items()}), expected, spelling.kind.words)
    return Checkpoint(lambda ops: ViT(spelling.sizes, ops), state, joined)


def named(state: State, spelling: Spelling) -> dict[str, Tensor]:
    """Under our names and in our shapes, without what features do not need; queries, keys and values still apart."""
    ours = dict[str, Tensor]()
    for key, tensor in state.items():
        name = key.removeprefix(PREFIX)
        if re.match(spelling.ignored, name):
            continue
        for theirs, our in spelling.ours:
            name = re.sub(theirs, our, name)
        if name in ("cls_token", "pos_embed") and tensor.ndim:
            tensor = tensor.reshape(-1, tensor.shape[-1])
        if name == "proj":
            name, tensor = "head.weight", tensor.transpose(0, -1)
        ours[name] = tensor
    return ours


def joined(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """With one layer for queries, keys and values where a file has three."""
    whole = dict(state)
    for key in state:
        keys = [key.replace(".attn.q.", f".attn.{part}.") for part in "qkv"]
        parts = [state[one] for one in keys if one in state]
        if ".attn.q." in key and len(parts) == 3 and len({part.shape for part in parts}) == 1:
            whole = {name: tensor for name, tensor in whole.items() if name not in keys}
            whole[key.replace(".attn.q.", ".attn.qkv.")] = torch.cat(parts)
    return whole
