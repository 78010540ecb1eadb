import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from safetensors.torch import save_file

from demo.seeded import AUTOENCODER, autoencoder_weights
from joyhallo.checkpoint import load_codec
from joyhallo.codec import PatchCodec
from joyhallo.config import CodecConfig


def pictures(count: int, seed: int = 0) -> torch.Tensor:
    """Smooth ones: noise enlarged."""
    noise = torch.randn(count, 3, 6, 4, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(noise, size=(48, 32), mode="bicubic").tanh()


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
