"""How people see ComfyUI: which version of its page, which kind of nodes, in which language."""

from __future__ import annotations

from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class View:
    newest: bool  # or the page that the environment pins
    nodes2: bool
    language: str
    seed: int  # ComfyUI does not run again what it ran for another view

    def __str__(self) -> str:
        return f"{'newest' if self.newest else 'pinned'}-{'nodes2' if self.nodes2 else 'classic'}-{self.language}"


# The pinned page shows no pack's Chinese, whatever the pack.
PINNED, PINNED_NODES2 = View(False, False, "en", 1), View(False, True, "en", 2)
NEWEST, CHINESE = View(True, False, "en", 3), View(True, True, "zh", 4)


def views(*chosen):
    return pytest.mark.parametrize("view", chosen, indirect=True, ids=str)


def only(found: list):
    (one,) = found
    return one
