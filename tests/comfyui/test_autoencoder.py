"""A codec of patches as ComfyUI's VAE: its nodes make what the engine's codec makes, and its memory is managed."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import hostile
import patchwork
import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from safetensors.torch import load_file, save_file

from joyhallo.diffusion.codec import PatchCodec, load_codec


@pytest.fixture(scope="module", params=[patchwork.SIZES, None], ids=["with a decoder", "patches alone"])
def file(request, tmp_path_factory):
    return patchwork.write(tmp_path_factory.mktemp("vae") / "patches.safetensors", sizes=request.param)


@pytest.fixture(scope="module")
def codec(file) -> PatchCodec:
    codec = load_codec(file)
    assert isinstance(codec, PatchCodec)
    return codec


@pytest.fixture
def vae(pack, file):
    return pack.nodes.autoencoder.load_vae(file)


@pytest.fixture
def nodes(pack):
    """ComfyUI's own."""
    import nodes

    return nodes


def images(count: int = 2, size: tuple[int, int] = (64, 96)) -> torch.Tensor:
    """(count, *size, 3) in 0..1"""
    return patchwork.pictures(count, seed=5, size=size).movedim(1, -1) / 2 + 0.5


def latents(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


def plain(images: torch.Tensor) -> torch.Tensor:
    """As the engine's codecs take them"""
    return images.movedim(-1, 1) * 2 - 1


def test_comfyui_takes_it_for_a_vae(vae, codec):
    import comfy.sd

    assert isinstance(vae, comfy.sd.VAE)
    vae.throw_exception_if_invalid()
    assert (vae.latent_channels, vae.latent_dim, vae.output_channels) == (16, 2, 3)
    assert vae.spacial_compression_encode() == vae.spacial_compression_decode() == 8
    assert vae.temporal_compression_decode() is None
    size = sum(tensor.numel() * tensor.element_size() for tensor in vae.first_stage_model.state_dict().values())
    assert vae.model_size() == vae.patcher.model_size() == size > 4 * 2 * 16 * 192


@torch.inference_mode()
def test_decoding_and_encoding_are_the_codecs(nodes, vae, codec):
    given = latents(3, 16, 8, 12)
    (decoded,) = nodes.VAEDecode().decode(vae, {"samples": given})
    assert decoded.shape == (3, 64, 96, 3)
    torch.testing.assert_close(decoded, codec.decode(given).movedim(1, -1), rtol=0, atol=1e-5)
    (encoded,) = nodes.VAEEncode().encode(vae, images())
    torch.testing.assert_close(encoded["samples"], codec.encode(plain(images())), rtol=0, atol=1e-5)


@torch.inference_mode()
def test_sides_that_are_no_multiples_are_cropped_in_the_middle(nodes, vae, codec):
    (encoded,) = nodes.VAEEncode().encode(vae, images(size=(69, 96)))
    expected = codec.encode(plain(images(size=(69, 96))[:, 2:66]))
    torch.testing.assert_close(encoded["samples"], expected, rtol=0, atol=1e-5)


@torch.inference_mode()
def test_tiles_agree_where_they_do_not_meet(nodes, vae, codec):
    """In the corner, which is further from all seams than the decoder sees; patches alone have no seams at all."""
    given = latents(1, 16, 48, 40)
    (tiled,) = nodes.VAEDecodeTiled().decode(vae, {"samples": given}, 256, 64)
    apart = (tiled - codec.decode(given).movedim(1, -1)).abs()
    if codec.decoder is None:
        assert apart.max() < 1e-5
    assert apart[:, :48, :48].max() < 1e-5
    assert apart.mean() < 0.01
    picture = images(1, (192, 256))
    (encoded,) = nodes.VAEEncodeTiled().encode(vae, picture, 128, 32)
    torch.testing.assert_close(encoded["samples"], codec.encode(plain(picture)), rtol=0, atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("channels", [16, 4])
def test_previews_show_the_mean_colour_of_each_patch(pack, channels, tmp_path):
    """Also where latents have as many channels as Stable Diffusion's."""
    path = patchwork.write(tmp_path / "linear.safetensors", channels, sizes=None)
    shown = pack.nodes.autoencoder.latent_format(pack.nodes.autoencoder.load_vae(path))
    given = latents(2, channels, 4, 6)
    colours = torch.einsum("nchw,cr->nrhw", given, torch.tensor(shown.latent_rgb_factors))
    colours += torch.tensor(shown.latent_rgb_factors_bias)[:, None, None]
    linear = load_codec(path).patches.pixels(given)
    torch.testing.assert_close(colours, torch.nn.functional.avg_pool2d(linear, 8), rtol=0, atol=1e-5)


@torch.inference_mode()
def test_it_is_loaded_and_let_go_by_comfyui(nodes, vae):
    import comfy.model_management as manager

    nodes.VAEDecode().decode(vae, {"samples": latents(1, 16, 8, 8)})
    assert any(loaded.model is vae.patcher for loaded in manager.current_loaded_models)
    manager.unload_all_models()
    assert not manager.current_loaded_models


@torch.inference_mode()
def test_weights_that_lie_elsewhere_in_part(vae, codec):
    """As on a card too small for them."""
    vae.patcher.load(torch.device("cpu"), lowvram_model_memory=1)
    given = latents(1, 16, 8, 8)
    found = vae.first_stage_model.decode(given)
    torch.testing.assert_close(found, codec.decode(given), rtol=0, atol=1e-5)
    parts = [module for module in vae.first_stage_model.modules() if list(module.parameters(recurse=False))]
    assert all(hasattr(part, "comfy_cast_weights") for part in parts)


@torch.inference_mode()
@pytest.mark.parametrize("flag", ["fp16_vae", "bf16_vae"])
def test_it_is_exact_whatever_precision_vaes_should_have(pack, file, codec, flag, monkeypatch):
    from comfy.cli_args import args

    monkeypatch.setattr(args, flag, True)
    vae, given = pack.nodes.autoencoder.load_vae(file), latents(1, 16, 8, 8)
    torch.testing.assert_close(vae.decode(given), codec.decode(given).movedim(1, -1), rtol=0, atol=1e-5)


@torch.inference_mode()
def test_the_memory_that_comfyui_is_told_of_suffices(pack, tmp_path):
    """Of a decoder of the usual size."""
    path = patchwork.write(tmp_path / "usual.safetensors", sizes=pack.joyhallo.diffusion.codec.DecoderSizes())
    vae, given, picture = pack.nodes.autoencoder.load_vae(path), latents(2, 16, 32, 32), plain(images(2, (256, 256)))
    model, told = vae.first_stage_model, 2 * vae.memory_used_decode(given.shape, torch.float32)
    assert 0.5 * told < peak(lambda: model.decode(given)) < told
    told = 2 * vae.memory_used_encode(picture.shape, torch.float32)
    assert 0.5 * told < peak(lambda: model.encode(picture)) < told


def peak(work) -> int:
    """Bytes at once, by PyTorch's own account."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        work()
    held = most = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most


def test_saved_by_comfyui_it_is_the_same_again(pack, vae, codec, tmp_path):
    save_file(vae.get_sd(), tmp_path / "saved.safetensors")
    assert load_file(tmp_path / "saved.safetensors").keys() == codec.tensors().keys()
    again = pack.nodes.autoencoder.load_vae(tmp_path / "saved.safetensors")
    given = latents(1, 16, 4, 4)
    torch.testing.assert_close(again.decode(given), vae.decode(given), rtol=0, atol=0)


def test_comfyuis_own_loader_does_not_take_it_for_another(pack, file, caplog):
    import comfy.sd

    caplog.set_level(logging.WARNING)
    assert comfy.sd.VAE(sd=load_file(file)).first_stage_model is None
    assert "No VAE weights detected" in caplog.text


# ---- which model it belongs to


def stable_diffusions(path: Path) -> Path:
    """A small autoencoder of its kind."""
    blocks = ["DownEncoderBlock2D"] * 4, ["UpDecoderBlock2D"] * 4
    model = AutoencoderKL(
        down_block_types=blocks[0], up_block_types=blocks[1], block_out_channels=[32] * 4, latent_channels=4
    )
    save_file(model.state_dict(), path)
    return path


def test_a_model_and_a_vae_that_do_not_belong_together(pack, vae, tmp_path):
    autoencoder, config = pack.nodes.autoencoder, pack.joyhallo.methods.hallo.config
    published = config.ModelConfig()
    small = replace(published, codec=pack.joyhallo.diffusion.codec.CodecConfig("patches", 1.0))
    ours = replace(small, net=config.NetConfig(latent_channels=16))
    autoencoder.check_vae(vae, ours)
    with pytest.raises(ValueError, match=r"16 channels.*takes 4 channels.*connect a VAE of Stable Diffusion 1.5"):
        autoencoder.check_vae(vae, published)
    theirs = autoencoder.load_vae(stable_diffusions(tmp_path / "theirs.safetensors"))
    own = "connect the VAE that was trained with the model: for demo, choose demo"
    with pytest.raises(ValueError, match=f"The VAE is a str; {own}"):
        autoencoder.check_vae("vae", ours)
    four = autoencoder.load_vae(patchwork.write(tmp_path / "four.safetensors", 4))
    with pytest.raises(
        ValueError, match="of a different kind from those the model was trained with: connect a VAE of Stable"
    ):
        autoencoder.check_vae(four, published)
    with pytest.raises(ValueError, match=rf"4 channels.*takes 16 channels.*{own}"):
        autoencoder.check_vae(theirs, ours)
    with pytest.raises(ValueError, match=f"of a different kind from those the model was trained with: {own}"):
        autoencoder.check_vae(theirs, small)


def test_what_is_no_vae_is_said_in_a_sentence(pack, tmp_path):
    """Whatever a file is, whoever chose it reads what was found and what was expected."""
    good = patchwork.write(tmp_path / "good.safetensors", 4)
    tables = load_file(good)
    names = ("encoder.conv_in.weight", "decoder.conv_in.weight")
    page = tmp_path / "page.pt"
    page.write_bytes(b"<!DOCTYPE html><html>")
    files = [(page, "is a web page")]

    def keep(name: str, words: str, **state) -> None:
        save_file(state, tmp_path / name)
        files.append((tmp_path / name, words))

    for name, table in (
        ("patches.mean", torch.zeros(7)),
        ("patches.to_pixels", torch.zeros(192, 9)),
        ("patches.mean", torch.full((192,), torch.nan)),
    ):
        keep(f"{len(files)}.safetensors", "looks like a codec of patches, but not all", **{**tables, name: table})
    keep("half.safetensors", "ComfyUI cannot build one", **{name: torch.zeros(8, 3, 3, 3) for name in names})
    keep("flat.safetensors", "ComfyUI cannot build one", **{name: torch.zeros(8) for name in names})
    keep("wav2lip.safetensors", "a Wav2Lip generator", **{"face_decoder_blocks.0.weight": torch.zeros(1)})
    for path, words in files:
        with pytest.raises(pack.joyhallo.files.contents.WeightsError, match=words):
            pack.nodes.autoencoder.load_vae(path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["patches", "stable"])
def test_hostile_vaes_are_said_in_a_sentence(pack, tmp_path, kind):
    """Whatever is wrong with one of the tensors; tests/files/test_hostile.py has what is wrong with a file."""
    good = tmp_path / "good.safetensors"
    state = load_file(patchwork.write(good, 4) if kind == "patches" else stable_diffusions(good))
    mark = tmp_path / "mark"
    first = "patches.mean" if kind == "patches" else "encoder.conv_in.weight"
    cases = [*hostile.with_code({first: state[first]}, mark), *hostile.odd_tensors(state)]
    cases += [*misshapen(state)] if kind == "patches" else [*misnumbered(state)]
    for case in cases:
        path = tmp_path / case.name
        case.write(path)
        mark.unlink(missing_ok=True)
        try:
            pack.nodes.autoencoder.load_vae(path)
        except pack.joyhallo.files.contents.WeightsError as error:
            said = str(error)
        except Exception as error:
            pytest.fail(f"{case.name}: {type(error).__name__}: {error}")
        else:
            pytest.fail(f"{case.name} was taken for a VAE")
        assert case.name in said, said
        assert "xpected" in said or "make it with" in said, said
        assert "weights_only" not in said
        assert not mark.exists(), case.name


def misshapen(state):
    """Each of the tensors of a codec with other shapes, not numbers, or missing."""
    for key, tensor in state.items():
        others = {
            "one": torch.zeros(1),
            "longer": torch.cat([tensor, tensor]),
            "deeper": tensor[..., None].clone(),
            "nan": torch.full_like(tensor, torch.nan),
        }
        for name, other in others.items():
            if name != "nan" or key.startswith("patches."):
                yield hostile.Case(
                    f"{key}-{name}.safetensors",
                    lambda path, key=key, other=other: save_file({**state, key: other}, path),
                )
        lacking = {name: other for name, other in state.items() if name != key}
        yield hostile.Case(f"{key}-missing.safetensors", lambda path, lacking=lacking: save_file(lacking, path))


def misnumbered(state):
    """Names of levels and blocks that ComfyUI would build for minutes, and widths that fill the memory."""
    key = "encoder.down_blocks.0.resnets.{}.conv1.weight"
    many = {key.format(number): torch.zeros(1) for number in range(5000)}
    levels = {f"encoder.down_blocks.{number}.resnets.0.conv1.weight": torch.zeros(1) for number in range(3000)}
    wide = {key.format(0): torch.zeros(3_000_000, 1, 1, 1, dtype=torch.int8)}
    flat = {key.format(0): torch.zeros(())}
    for name, more in {"blocks": many, "levels": levels, "wide": wide, "flat": flat}.items():
        yield hostile.Case(f"{name}.safetensors", lambda path, more=more: save_file({**state, **more}, path))
