"""Pictures of unfinished frames: on a graphics card late and seldom, so that it never waits; else at every step."""

from __future__ import annotations

import pytest
import torch


class Card:
    """Copies that come when they are let through, and a clock."""

    def __init__(self):
        self.now, self.begun, self.through = 0.0, [], False

    def fetch(self, frame):
        self.begun.append(int(frame))
        return frame, lambda: self.through


@pytest.fixture
def card():
    return Card()


@pytest.fixture
def late(pack, card):
    return pack.nodes.preview.Late(card.fetch, every=0.25, clock=lambda: card.now)


def shown(late, number):
    return late(torch.tensor(number), lambda frame: (int(frame),))


def test_a_picture_comes_a_step_late(late, card):
    card.through = True
    assert shown(late, 1) is None
    assert shown(late, 2) == (1,)


def test_a_copy_under_way_is_not_waited_for(late, card):
    found = [shown(late, number) for number in range(3)]
    card.through, card.now = True, 9
    found += [shown(late, 3), shown(late, 4)]
    assert found == [None, None, None, (0,), (3,)]
    assert card.begun == [0, 3]


def test_there_are_at_most_four_a_second(late, card):
    card.through = True
    found = []
    for step in range(101):
        card.now = step / 50
        found.append(shown(late, step))
    assert sum(each is not None for each in found) == len(card.begun) == 8
    assert all(after - before >= 12 for before, after in zip(card.begun, card.begun[1:], strict=False))


def test_on_a_processor_every_step_is_shown(pack):
    preview = pack.nodes.preview
    progress = pack.joyhallo.methods.chunks.Progress
    watched = preview.Preview(torch.rand(3, 8, 8) * 2 - 1, None, torch.device("cpu"))
    assert all(watched._shown(progress(step, 5)) is not None for step in range(5))
