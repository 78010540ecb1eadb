import numpy as np
import patchwork
import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from patchwork import pictures
from safetensors.torch import load_file, save_file
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from joyhallo.diffusion.codec import CodecConfig, DecoderSizes, PatchCodec, PatchDecoder, load_codec
from joyhallo.files.contents import WeightsError
from tools.demo_model.seeded import AUTOENCODER, autoencoder_weights


def blocks(pixels: torch.Tensor) -> np.ndarray:
    """(n, 3, height, width) -> (blocks, 192), written with numpy alone."""
    n, c, height, width = pixels.shape
    split = pixels.numpy().reshape(n, c, height // 8, 8, width // 8, 8)
    return split.transpose(0, 2, 4, 1, 3, 5).reshape(-1, c * 64)


def test_patches_are_the_principal_components():
    """Whatever the channels' strengths: decoded is what numpy's singular vectors keep."""
    seen = pictures(6)
    there = blocks(seen)
    _, _, vectors = np.linalg.svd(there - there.mean(0), full_matrices=False)
    kept = vectors[:8]
    expected = (there - there.mean(0)) @ kept.T @ kept + there.mean(0)
    for evenness in (0.0, 0.5, 1.0):
        codec = PatchCodec.fit(seen, 8, evenness)
        found = codec.decode(codec.encode(seen)) * 2 - 1
        np.testing.assert_allclose(blocks(found), expected.clip(-1, 1), atol=2e-4)


def test_patches_have_unit_variance():
    codec = PatchCodec.fit(pictures(6), 8, evenness=1.0)
    latents = codec.encode(pictures(6))
    assert latents.shape == (6, 8, 6, 4)
    torch.testing.assert_close(latents.var((0, 2, 3), correction=0), torch.ones(8), rtol=1e-3, atol=0)
    assert PatchCodec.fit(pictures(6), 8).encode(pictures(6)).var().sub(1).abs() < 0.05


def test_patches_in_a_file(tmp_path):
    codec = PatchCodec.fit(pictures(6), 8)
    save_file(codec.tensors(), tmp_path / "codec.safetensors")
    loaded = load_codec(tmp_path / "codec.safetensors")
    assert isinstance(loaded, PatchCodec)
    torch.testing.assert_close(loaded.encode(pictures(2, seed=1)), codec.encode(pictures(2, seed=1)))


def plainly(tensors: dict[str, torch.Tensor], latents: torch.Tensor) -> torch.Tensor:
    """What a file's tensors make of latents (n, channels, height, width), without the codec: (n, 3, ...) in 0..1"""
    n, c, height, width = latents.shape
    columns = latents.numpy().transpose(0, 2, 3, 1).reshape(-1, c)
    rough = columns @ tensors["patches.to_pixels"].numpy().T + tensors["patches.mean"].numpy()
    rough = rough.reshape(n, height, width, 3, 8, 8).transpose(0, 3, 1, 4, 2, 5).reshape(n, 3, 8 * height, 8 * width)

    def conv(x, name):
        return F.conv2d(x, *(tensors[f"decoder.{name}.{part}"].float() for part in ("weight", "bias")), padding=1)

    x = conv(latents, "enter")
    for block in range(sum(key.endswith("first.bias") and "blocks" in key for key in tensors)):
        x = x + conv(F.silu(conv(F.silu(x), f"blocks.{block}.first")), f"blocks.{block}.second")
    x = F.pixel_shuffle(conv(F.silu(x), "enlarge"), 2)
    x = x + conv(F.silu(conv(F.silu(x), "smooth.first")), "smooth.second")
    fine = F.pixel_shuffle(conv(F.silu(x), "leave"), 4)
    return ((torch.from_numpy(rough) + fine) / 2 + 0.5).clamp(0, 1)


@pytest.mark.parametrize("sizes", [patchwork.SIZES, DecoderSizes(width=8, blocks=3, fine=4)])
@pytest.mark.parametrize("shape", [(2, 16, 6, 4), (1, 16, 16, 24)])
def test_a_decoder_in_a_file(tmp_path, sizes, shape):
    path = patchwork.write(tmp_path / "codec.safetensors", sizes=sizes)
    tensors, latents = load_file(path), torch.randn(shape, generator=torch.Generator().manual_seed(1))
    assert tensors["decoder.enter.weight"].dtype == torch.float16
    codec = load_codec(path)
    torch.testing.assert_close(codec.decode(latents), plainly(tensors, latents), rtol=0, atol=1e-5)
    torch.testing.assert_close(codec.decode(latents.half()), codec.decode(latents), rtol=0, atol=0.01)
    assert load_codec(path).tensors().keys() == tensors.keys()
    assert all(torch.equal(codec.tensors()[key], tensors[key]) for key in tensors)


def test_the_decoder_has_no_part_in_the_latents(tmp_path):
    latents, same = (codec.encode(pictures(2)) for codec in (patchwork.codec(), patchwork.codec(sizes=None)))
    assert torch.equal(latents, same)
    apart = patchwork.codec().decode(latents) - patchwork.codec(sizes=None).decode(latents)
    assert apart.abs().mean() > 0.1


def test_the_usual_decoder_is_small():
    decoder = PatchDecoder(16, DecoderSizes())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        assert decoder(torch.zeros(1, 16, 16, 16)).shape == (1, 3, 128, 128)
    assert sum(parameter.numel() for parameter in decoder.parameters()) < 1e6
    assert counter.get_total_flops() < 1e9


@pytest.mark.parametrize("lost", ["patches.to_pixels", "decoder.enter.weight", "decoder.blocks.1.second.bias"])
def test_a_file_that_lacks_something_is_named(tmp_path, lost):
    tensors = load_file(patchwork.write(tmp_path / "codec.safetensors"))
    del tensors[lost]
    save_file(tensors, tmp_path / "damaged.safetensors")
    with pytest.raises(WeightsError, match=r"damaged.safetensors looks like a codec of patches.*not all.*fit"):
        load_codec(tmp_path / "damaged.safetensors")


def test_posterior_of_an_autoencoder(tmp_path):
    """Drawn from mean and variance as given here, latents are those that diffusers draws, times the scale."""
    save_file(autoencoder_weights(), tmp_path / "vae.safetensors")
    codec = load_codec(tmp_path / "vae.safetensors", dtype=torch.float32)
    theirs = AutoencoderKL(**AUTOENCODER)
    theirs.load_state_dict({key: tensor.float() for key, tensor in autoencoder_weights().items()})
    pixels = pictures(5)
    with torch.no_grad():
        expected = theirs.encode(pixels).latent_dist.sample(torch.Generator().manual_seed(3)) * CodecConfig.scale
    mean, logvar = codec.posterior(pixels)
    noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(mean + (logvar / 2).exp() * noise, expected, rtol=1e-4, atol=1e-5)
