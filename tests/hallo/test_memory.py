from functools import cache

import pytest
import torch

from benchmarks.memory import measured
from joyhallo.methods.hallo.config import NetConfig
from joyhallo.methods.hallo.memory import working_memory
from joyhallo.methods.hallo.sampling import Settings

pytestmark = pytest.mark.slow

CASES = [
    (256, Settings(), False),
    (512, Settings(), False),
    (512, Settings(guidance=1.0, chunk_frames=8, motion_frames=1), False),
    (768, Settings(rows_together=False), True),
    (256, Settings(rows_together=False, reuse=2), False),
]


@cache
def followed(config: NetConfig, px: int, settings: Settings) -> dict[str, int]:
    return measured(config, px, settings, torch.float16)


@pytest.mark.parametrize(("px", "settings", "hallo"), CASES)
def test_the_networks_need_what_is_told(px, settings, hallo):
    """Every tensor is followed, at full size: what is asked for is enough, and not much more than that."""
    config = NetConfig(regional_audio=hallo)
    told = working_memory(config, settings, px, torch.float16)
    found = followed(config, px, settings)
    assert all(found[name] <= told[name] for name in found)
    assert all(told[name] <= 1.35 * found[name] for name in ("reference_unet", "denoising_unet"))


def test_weights_of_eight_bits_are_cast_beside_all_else():
    config, settings, eight = NetConfig(), Settings(rows_together=False), torch.float8_e4m3fn
    told = working_memory(config, settings, 256, torch.float16, eight)
    found = measured(config, 256, settings, torch.float16, eight)
    plain = followed(config, 256, settings)
    assert all(found[name] <= told[name] for name in found)
    assert found["reference_unet"] > plain["reference_unet"]
    assert told["reference_unet"] <= 1.35 * found["reference_unet"]


def test_deep_features_that_wait_for_the_other_row_are_told():
    config = NetConfig()
    apart, waiting = Settings(rows_together=False), Settings(rows_together=False, reuse=2)
    told = [working_memory(config, s, 256, torch.float16)["denoising_unet"] for s in (apart, waiting)]
    found = [followed(config, 256, s)["denoising_unet"] for s in (apart, waiting)]
    assert told[1] - told[0] == pytest.approx(found[1] - found[0], rel=0.1)  # a second step holds a few latents more
    assert found[1] > found[0]


def test_full_precision_needs_twice_as_much():
    config, settings = NetConfig(), Settings()
    half, full = (working_memory(config, settings, 512, dtype) for dtype in (torch.float16, torch.float32))
    assert all(full[name] == pytest.approx(2 * half[name], rel=1e-6) for name in half)
    assert measured(config, 256, settings, torch.float32)["denoising_unet"] <= full["denoising_unet"]
