"""DINO's and CLIP's vision transformers against transformers', in small; their files in all spellings."""

from dataclasses import replace
from pathlib import Path

import hostile
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from joyhallo.files.contents import WeightsError
from joyhallo.measures.vit import CLIP_SPELLING, DINO_SPELLING, ViT, open_clip, open_dino, opened

SMALL = {"width": 24, "blocks": 2, "heads": 2, "inner": 40, "patch": 4, "grid": 3}
DINO = replace(DINO_SPELLING, sizes=replace(DINO_SPELLING.sizes, **SMALL))
CLIP = replace(CLIP_SPELLING, sizes=replace(CLIP_SPELLING.sizes, projected=8, **SMALL))
THEIRS = {
    "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 40, "patch_size": 4,
    "image_size": 12,
}  # fmt: skip


def drawn(model: nn.Module) -> nn.Module:
    """Weights of a size that makes everything in it matter."""
    for number, tensor in enumerate(model.parameters()):
        nn.init.normal_(tensor, std=0.3, generator=torch.Generator().manual_seed(number))
    return model.eval()


@pytest.fixture(scope="module")
def their_dino():
    from transformers import ViTConfig, ViTModel

    return drawn(ViTModel(ViTConfig(layer_norm_eps=1e-6, **THEIRS)))


@pytest.fixture(scope="module")
def their_clip():
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    return drawn(CLIPVisionModelWithProjection(CLIPVisionConfig(projection_dim=8, **THEIRS)))


def state_of(model: nn.Module) -> dict[str, torch.Tensor]:
    return {key: tensor.detach().contiguous() for key, tensor in model.state_dict().items()}


def stored(model: nn.Module, path: Path) -> Path:
    save_file(state_of(model), path)
    return path


# ---- the networks


@torch.no_grad()
def test_dino_is_that_of_transformers(their_dino, tmp_path):
    ours = opened(stored(their_dino, tmp_path / "dino.safetensors"), DINO).build()
    pictures = torch.randn(3, 3, 12, 12)
    expected = their_dino(pictures).last_hidden_state[:, 0]
    assert expected.abs().mean() > 0.1
    assert (ours(pictures) - expected).abs().max() < 1e-5
    blind = replace(DINO, sizes=replace(DINO.sizes, epsilon=1e-2))
    ours = opened(tmp_path / "dino.safetensors", blind).build()
    assert (ours(pictures) - expected).abs().max() > 1e-3


@torch.no_grad()
def test_clip_is_that_of_transformers(their_clip, tmp_path):
    ours = opened(stored(their_clip, tmp_path / "clip.safetensors"), CLIP).build()
    pictures = torch.randn(3, 3, 12, 12)
    expected = their_clip(pictures).image_embeds
    assert expected.abs().mean() > 0.1
    assert (ours(pictures) - expected).abs().max() < 1e-5


def bicubic(table: np.ndarray, factors: tuple[float, float], size: tuple[int, int]) -> np.ndarray:
    """Plainly: table (rows, columns), each place of the result by 16 of it, those past its edges repeated."""

    def weight(distance: float) -> float:
        a, d = -0.75, abs(distance)
        if d <= 1:
            return (a + 2) * d**3 - (a + 3) * d**2 + 1
        return a * (d**3 - 5 * d**2 + 8 * d - 4) if d < 2 else 0.0

    made = np.zeros(size)
    for place in np.ndindex(size):
        at = [(number + 0.5) / factor - 0.5 for number, factor in zip(place, factors, strict=True)]
        first = [int(np.floor(one)) for one in at]
        for y in range(first[0] - 1, first[0] + 3):
            for x in range(first[1] - 1, first[1] + 3):
                inside = table[np.clip(y, 0, len(table) - 1), np.clip(x, 0, len(table[0]) - 1)]
                made[place] += weight(at[0] - y) * weight(at[1] - x) * inside
    return made


def test_positions_are_stretched_as_dino_does():
    net = ViT(DINO.sizes)
    net.pos_embed.copy_(torch.randn(10, 24))
    assert torch.equal(net.positions(3, 3, True), net.pos_embed)
    for size in (3, 3), (3, 5), (7, 3):
        found = net.positions(*size, False)
        factors = tuple((side + 0.1) / 3 for side in size)
        expected = bicubic(net.pos_embed[1:, 5].double().numpy().reshape(3, 3), factors, size)
        assert np.abs(found[1:, 5].double().numpy().reshape(size) - expected).max() < 1e-5
        assert torch.equal(found[0], net.pos_embed[0])


@torch.no_grad()
def test_oblong_pictures_with_as_many_patches_are_stretched_too(their_dino, tmp_path):
    ours = opened(stored(their_dino, tmp_path / "dino.safetensors"), DINO).build()
    picture = torch.randn(1, 3, 12, 12)
    wider = torch.cat([picture, torch.zeros(1, 3, 12, 1)], 3)  # of which no patch sees the last column
    assert (ours(wider) - ours(picture)).abs().max() > 1e-4
    assert ours(torch.randn(2, 3, 12, 31)).shape == (2, 24)


# ---- the files


def hub(model: nn.Module) -> dict[str, torch.Tensor]:
    """transformers' own names, those of version 5, -> those of DINO's authors."""
    theirs = state_of(model)
    ours = {
        "cls_token": theirs["embeddings.cls_token"],
        "pos_embed": theirs["embeddings.position_embeddings"],
    }
    for end in "weight", "bias":
        ours[f"patch_embed.proj.{end}"] = theirs[f"embeddings.patch_embeddings.projection.{end}"]
        ours[f"norm.{end}"] = theirs[f"layernorm.{end}"]
        for number in range(2):
            block, layer = f"blocks.{number}", f"layers.{number}"
            three = [theirs[f"{layer}.attention.{part}_proj.{end}"] for part in "qkv"]
            ours[f"{block}.attn.qkv.{end}"] = torch.cat(three)
            ours[f"{block}.attn.proj.{end}"] = theirs[f"{layer}.attention.o_proj.{end}"]
            ours[f"{block}.norm1.{end}"] = theirs[f"{layer}.layernorm_before.{end}"]
            ours[f"{block}.norm2.{end}"] = theirs[f"{layer}.layernorm_after.{end}"]
            for part in "fc1", "fc2":
                ours[f"{block}.mlp.{part}.{end}"] = theirs[f"{layer}.mlp.{part}.{end}"]
    return ours


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], off: float = 0.0) -> bool:
    assert found.keys() == expected.keys()
    return all((found[key] - expected[key].reshape(found[key].shape)).abs().max() <= off for key in expected)


def test_dino_in_every_spelling(their_dino, tmp_path):
    expected = hub(their_dino)
    torch.save(expected, tmp_path / "dino_vitbase16_pretrain.pth")
    torch.save({f"module.{key}": tensor for key, tensor in expected.items()}, tmp_path / "parallel.pth")
    head = {"head.weight": torch.zeros(10, 24), "head.bias": torch.zeros(10)}
    save_file({**expected, **head}, tmp_path / "timm.safetensors")
    stored(their_dino, tmp_path / "five.safetensors")
    their_dino.save_pretrained(tmp_path)  # under the names of version 4
    within = {f"vit.{key}": tensor for key, tensor in state_of(their_dino).items()}
    save_file({**within, "classifier.weight": torch.zeros(2, 24)}, tmp_path / "classifier.safetensors")
    names = "dino_vitbase16_pretrain.pth", "parallel.pth", *(f"{name}.safetensors" for name in (
        "timm", "five", "model", "classifier"))  # fmt: skip
    for name in names:
        assert same(opened(tmp_path / name, DINO).build().state_dict(), expected), name


class Published(nn.Module):
    """CLIP's modules, as its authors name them, with a bit of the half that reads texts."""

    def __init__(self, theirs: dict[str, torch.Tensor]):
        super().__init__()
        model = {key.removeprefix("vision_model."): tensor for key, tensor in theirs.items()}
        self.positional_embedding = nn.Parameter(torch.zeros(77, 16))
        self.logit_scale = nn.Parameter(torch.zeros(()))
        self.transformer = nn.ModuleDict({"resblocks": nn.ModuleList([nn.Linear(16, 16)])})
        self.register_buffer("input_resolution", torch.tensor(12))
        visual = self.visual = nn.Module()
        visual.class_embedding = nn.Parameter(model["embeddings.class_embedding"])
        visual.positional_embedding = nn.Parameter(model["embeddings.position_embedding.weight"])
        visual.proj = nn.Parameter(model["visual_projection.weight"].T)
        visual.conv1 = nn.Conv2d(3, 24, 4, 4, bias=False)
        visual.conv1.weight = nn.Parameter(model["embeddings.patch_embedding.weight"])
        visual.ln_pre, visual.ln_post = normed(model, "pre_layrnorm"), normed(model, "post_layernorm")
        layers = [resblock(model, f"encoder.layers.{number}.") for number in range(2)]
        visual.transformer = nn.ModuleDict({"resblocks": nn.ModuleList(layers)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def normed(model: dict[str, torch.Tensor], name: str) -> nn.LayerNorm:
    norm = nn.LayerNorm(24)
    norm.load_state_dict({end: model[f"{name}.{end}"] for end in ("weight", "bias")})
    return norm


def resblock(model: dict[str, torch.Tensor], layer: str) -> nn.ModuleDict:
    attention = nn.MultiheadAttention(24, 2)
    own = {f"out_proj.{end}": model[f"{layer}self_attn.out_proj.{end}"] for end in ("weight", "bias")}
    for end in "weight", "bias":
        own[f"in_proj_{end}"] = torch.cat([model[f"{layer}self_attn.{part}_proj.{end}"] for part in "qkv"])
    attention.load_state_dict(own)
    mlp = nn.ModuleDict({"c_fc": nn.Linear(24, 40), "c_proj": nn.Linear(40, 24)})
    for ours, theirs in ("c_fc", "fc1"), ("c_proj", "fc2"):
        mlp[ours].load_state_dict({end: model[f"{layer}mlp.{theirs}.{end}"] for end in ("weight", "bias")})
    norms = {"ln_1": normed(model, f"{layer}layer_norm1"), "ln_2": normed(model, f"{layer}layer_norm2")}
    return nn.ModuleDict({"attn": attention, "mlp": mlp, **norms})


@pytest.mark.filterwarnings("ignore")  # TorchScript is deprecated, but files are in it
def test_clip_in_every_spelling(their_clip, tmp_path):
    expected = opened(stored(their_clip, tmp_path / "five.safetensors"), CLIP).build().state_dict()
    published = Published(state_of(their_clip))
    torch.save(published.state_dict(), tmp_path / "open_clip_pytorch_model.bin")
    stored(published, tmp_path / "open_clip_model.safetensors")
    whole = {"text_model.final_layer_norm.weight": torch.ones(16), "text_projection.weight": torch.zeros(8, 16)}
    places = {"vision_model.embeddings.position_ids": torch.arange(10)[None]}
    torch.save({**state_of(their_clip), **whole, **places}, tmp_path / "pytorch_model.bin")
    for name in "open_clip_pytorch_model.bin", "open_clip_model.safetensors", "pytorch_model.bin":
        assert same(opened(tmp_path / name, CLIP).build().state_dict(), expected), name
    torch.jit.script(published.half()).save(tmp_path / "ViT-B-32.pt")
    found = opened(tmp_path / "ViT-B-32.pt", CLIP)
    assert found.dtype == torch.float16
    assert same(found.build(dtype=torch.float32).state_dict(), expected, 1e-3)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"blocks.1.norm2.bias": None}, "1 missing (blocks.1.norm2.bias)"),
        ({"blocks.0.ls1.gamma": torch.zeros(24)}, "1 unknown (blocks.0.ls1.gamma)"),
        ({"blocks.0.mlp.fc1.bias": torch.zeros(24)}, "1 of another shape (blocks.0.mlp.fc1.bias)"),
        ({"pos_embed": torch.tensor(1.0)}, "1 of another shape (pos_embed)"),
        ({"pos_embed": torch.zeros(1, 17, 24)}, "1 of another shape (pos_embed)"),
        ({"norm.bias": torch.zeros(24, dtype=torch.int32)}, "whole numbers (norm.bias)"),
        ({"cls_token": None}, "Expected DINO's ViT-B/16"),
    ],
)
def test_files_that_do_not_fit(their_dino, tmp_path, changed, said):
    state = {key: tensor for key, tensor in {**hub(their_dino), **changed}.items() if tensor is not None}
    torch.save(state, tmp_path / "dino.pth")
    with pytest.raises(WeightsError) as told:
        opened(tmp_path / "dino.pth", DINO)
    assert said in str(told.value)


def test_queries_without_keys_do_not_fit(their_dino, tmp_path):
    state = state_of(their_dino)
    del state["layers.1.attention.k_proj.weight"]
    save_file(state, tmp_path / "dino.safetensors")
    with pytest.raises(WeightsError, match=r"1 missing \(blocks\.1\.attn\.qkv\.weight\)"):
        opened(tmp_path / "dino.safetensors", DINO)


def test_each_is_told_from_the_other_and_from_larger_ones(their_dino, their_clip, tmp_path):
    dino, clip = stored(their_dino, tmp_path / "dino.safetensors"), stored(their_clip, tmp_path / "clip.safetensors")
    with pytest.raises(WeightsError, match=r"looks like a CLIP\. Expected DINO's ViT-B/16"):
        open_dino(clip)
    with pytest.raises(WeightsError, match=r"looks like a ViT such as DINO's\. Expected OpenAI's CLIP ViT-B/32"):
        open_clip(dino)
    for open_one, path in (open_dino, dino), (open_clip, clip):
        with pytest.raises(WeightsError, match="of another shape"):
            open_one(path)
    unprojected = {key: tensor for key, tensor in state_of(their_clip).items() if key != "visual_projection.weight"}
    save_file(unprojected, clip)
    with pytest.raises(WeightsError, match=r"1 missing \(head\.weight\)"):
        opened(clip, CLIP)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("open_one", [open_dino, open_clip])
def test_nothing_in_a_file_is_run(their_dino, tmp_path, open_one):
    mark = tmp_path / "ran"
    for number, case in enumerate([*hostile.with_code(hub(their_dino), mark), *hostile.other_contents()]):
        path = tmp_path / f"{number}-{case.name}"
        case.write(path)
        mark.unlink(missing_ok=True)  # to write some of them runs their code
        with pytest.raises(WeightsError, match=r"Expected (DINO|OpenAI)"):
            open_one(path)
        assert not mark.exists()
        path.unlink()
