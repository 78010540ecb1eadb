"""On another device a film goes there once and comes back once; from crop to paste nothing leaves it."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from pretend_card import CARD, DOWN, UP, Card
from test_redub_anything import inverted

from joyhallo.faces.blend import Blend, feathered
from joyhallo.faces.track import Track
from joyhallo.methods.redub import placed, redub
from joyhallo.methods.script import Script
from joyhallo.methods.wav2lip.method import Wav2Lip
from joyhallo.sound.audio import Recording

AT_ONCE, SIZE = 4, (90, 80)


def film(count: int) -> tuple[torch.Tensor, Track]:
    pictures = torch.randint(0, 256, (count, *SIZE[::-1], 3), generator=torch.Generator().manual_seed(1)).byte()
    boxes = np.tile(np.float32([20, 15, 70, 65]), (count, 1))
    points = np.zeros((count, 0, 2), np.float32)
    return pictures, Track(boxes, points, np.ones(count, np.float32), "none", SIZE, Fraction(25))


def redubbed(count: int, device: torch.device | str, blend: Blend) -> torch.Tensor:
    pictures, track = film(count)
    method = Wav2Lip(inverted, 96, AT_ONCE, device)
    noise = torch.rand(16_000, generator=torch.Generator().manual_seed(2)) - 0.5
    windows, crops = method.listen(Recording(noise), track.rate), method.crops(track)
    script = Script(np.arange(count), np.ones(count, np.float32))
    chunks = redub(method, iter(pictures), crops, windows, script, device=device)
    return torch.cat([placed(chunk, crops, script, blend).cpu() for chunk in chunks])


@pytest.mark.parametrize("blend", [Blend(), Blend(feathered(0.1), matched=True)], ids=["whole", "feather"])
def test_each_batch_goes_up_with_its_sound_and_comes_down_once(blend):
    count = 5 * AT_ONCE
    with torch.inference_mode():
        for _ in range(2):  # tables are made once
            with Card() as card:
                made = redubbed(count, CARD, blend)
    assert card.operations[UP] == 2 * 5
    assert card.operations[DOWN] == 5
    assert torch.equal(made, redubbed(count, "cpu", blend))
