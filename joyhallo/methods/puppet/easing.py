"""Passing softly from 0 to 1."""

from __future__ import annotations

from torch import Tensor


def smooth(share: Tensor) -> Tensor:
    """0 up to 0, 1 from 1 on, and level at both ends"""
    share = share.clamp(0, 1)
    return share * share * (3 - 2 * share)
