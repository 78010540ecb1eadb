"""Where another device than the CPU computes, the same is made, and nothing on it meets what lies in memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from loaded import Loaded
from pretend_card import CARD, Mixed, OnCard, comfyui_computes_on_the_card
from redub_files import LATENTSYNC, MUSETALK, ULTRALIGHT, write_parser
from test_cut_faces import cut, paste  # noqa: F401  fixtures
from test_puppet import speak, speech  # noqa: F401
from test_redub_lips import bytes_of, file, film, ours, redub, sound, track  # noqa: F401
from test_redub_methods import QUICK, folder, hiss, load  # noqa: F401

LEVELS = 2  # by which frames may differ: a card works on other portions, and in another order of memory
OF_HALVES = 0.3  # the same on the average, where numbers have 16 bits


def assert_alike(make: Callable[[], torch.Tensor], halves: bool = False) -> None:
    """What a CPU and a card make, frames of bytes."""
    here = make()
    with comfyui_computes_on_the_card(halves) as card:
        there = make().cpu()
    assert card.operations.total() > 10, "the card had nothing to do"
    assert here.shape == there.shape
    apart = (here.int() - there.int()).abs()
    if halves:
        assert 0 < apart.float().mean() <= OF_HALVES
    else:
        assert apart.max() <= LEVELS


@pytest.mark.usefixtures("pack")
def test_the_card_refuses_what_cards_refuse():
    with comfyui_computes_on_the_card() as card:
        there = torch.ones(3, device=CARD)
        assert isinstance(there, OnCard)
        assert torch.equal((there + torch.ones(3).to(CARD)).cpu(), torch.full((3,), 2.0))
        assert torch.tensor([1, 2], device=CARD).device == CARD
        places = torch.zeros(1, dtype=torch.long, device=CARD)
        for mix in (lambda: there + torch.ones(3), lambda: torch.ones(3)[places], lambda: there.numpy()):
            with pytest.raises(Mixed):
                mix()
        assert card.operations["add"] == 1


@pytest.mark.parametrize("blend", ["whole box", "feather", "mouth"])
def test_wav2lip(ours, file, film, track, redub, blend):  # noqa: F811
    def make():
        model = ours("nodes.comfy_adapter").load_redub_model(file, "wav2lip_gan.pth", "fp32")
        return redub(model, film, sound(0.4), face_track=track(missing=(3,)), blend=blend).frames

    assert_alike(make)


@pytest.mark.parametrize("halves", [False, True])
@pytest.mark.parametrize("name", [LATENTSYNC, MUSETALK, ULTRALIGHT])
def test_other_redubbers(load, film, track, redub, name, halves):  # noqa: F811
    def make():
        model = load(name, weight_dtype="auto")
        return redub(model, film, hiss(), face_track=track(missing=(1,)), **QUICK).frames

    assert_alike(make, halves)


def test_a_parser_of_faces(load, folder, film, track, redub):  # noqa: F811
    write_parser(folder)

    def make():
        made = redub(load(MUSETALK), film, hiss(), face_track=track())
        assert "parser " in made.report.partition("With it")[2].splitlines()[0]
        return made.frames

    assert_alike(make)


@pytest.mark.parametrize("halves", [False, True])
def test_a_portrait_speaks(pack, halves):
    assert_alike(lambda: bytes_of(Loaded(pack).frames()), halves)


def test_a_puppet_speaks(speak):  # noqa: F811
    """Its eyes blink, too: those lines are drawn for the frames alone that need them."""
    blinking = {"seed": 1, "blinks": 3.0}
    assert (speak(**blinking).frames != speak(seed=1, blinks=0.0).frames).any()
    assert_alike(lambda: torch.from_numpy(speak(**blinking).frames))


def test_faces_are_cut_out_and_put_back(film, track, cut, paste):  # noqa: F811
    def make():
        faces, crops, _ = cut(film, track(missing=(3,)))
        return bytes_of(paste(film, faces.flip(2), crops)[0].images)

    assert_alike(make)
