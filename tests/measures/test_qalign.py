"""What surrounds Q-Align's language model, beside Pillow's pictures and plain sums."""

import numpy as np
import pytest
import torch
from PIL import Image

from joyhallo.measures import qalign


def picture(height, width):
    return torch.randint(0, 256, (1, height, width, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(("height", "width"), [(50, 31), (300, 701), (448, 448)])
def test_pictures_are_prepared_as_pillow_does(height, width):
    shown = picture(height, width)
    side, colour = max(height, width), tuple(int(255 * part) for part in qalign.MEAN)
    square = Image.new("RGB", (side, side), colour)
    square.paste(Image.fromarray(shown[0].numpy()), ((side - width) // 2, (side - height) // 2))
    assert np.array_equal(qalign.padded(shown)[0].numpy(), np.array(square))
    resized = np.asarray(square.resize((448, 448), Image.Resampling.BICUBIC)) / 255
    expected = torch.from_numpy((resized - qalign.MEAN) / qalign.SPREAD).permute(2, 0, 1)
    apart = (qalign.prepared(shown)[0] - expected).abs()
    assert apart.max() < 0.02  # a level
    assert apart.mean() < 1e-5


def test_a_film_is_looked_at_once_a_second():
    assert qalign.seconds(100, 25) == [0, 25, 50, 75]
    assert qalign.seconds(24, 25) == []
    assert qalign.seconds(300, 23.976)[-2:] == [239, 263]


@pytest.mark.parametrize("size", [1, 7, 200])
@pytest.mark.parametrize(("count", "fps"), [(61, 29.97), (75, 25), (76, 25), (131, 10.5)])
def test_glances_are_the_frames_of_the_seconds(size, count, fps):
    film = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 8, 8, 3)
    glances = qalign.Glances(fps)
    for piece in film.split(size):
        glances.see(piece)
    assert torch.equal(glances.pictures, qalign.prepared(film[qalign.seconds(count, fps)]).half())


def test_a_film_of_less_than_a_second_is_told():
    glances = qalign.Glances(25)
    glances.see(torch.zeros(24, 8, 8, 3, dtype=torch.uint8))
    with pytest.raises(ValueError, match="24 frames at 25 a second; it must last a second"):
        _ = glances.pictures


def by_letters(text):
    return [1, *map(ord, text)]


@pytest.mark.parametrize("shown", ["image", "video"])
def test_one_beginning_and_one_picture(shown):
    text = qalign.prompt(shown)
    assert text.count(shown) == 2 + text.count("<|image|>") * (shown == "image")
    found = qalign.tokens(text, by_letters)
    assert found[0] == 1
    assert found.count(1) == found.count(qalign.PICTURE) == 1
    letters = "".join("<|image|>" if token == qalign.PICTURE else chr(token) for token in found[1:])
    assert letters == text
    assert qalign.word_tokens(by_letters) == [ord(word[0]) for word in ("excellent", "good", "fair", "poor", "bad")]


def test_the_score_is_of_five_words():
    sure = 50 * torch.eye(5)
    assert qalign.score(sure).tolist() == pytest.approx([1, 0.75, 0.5, 0.25, 0])
    assert qalign.as_stars(qalign.score(sure)).tolist() == pytest.approx([5, 4, 3, 2, 1])
    logits = [1.0, 2.0, 0.5, -1.0, 0.0]
    share = np.exp(logits) / np.exp(logits).sum()
    assert qalign.score(torch.tensor([logits]))[0].item() == pytest.approx((share * [1, 0.75, 0.5, 0.25, 0]).sum())
