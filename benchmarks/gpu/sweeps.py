"""Sizes of blocks, which are compromises: how many keys at a time, how large the slices of a feed-forward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch

from joyhallo.diffusion.networks import attention as layers
from joyhallo.methods.hallo.networks import attention as portrait

from .bench import Bench, Unavailable
from .scene import scene

KEYS, SLICES, SLICES_ELSEWHERE = "WORKSPACE_KEYS", "FEED_FORWARD_ELEMENTS", "FEED_FORWARD_ELEMENTS_ELSEWHERE"


def parts(bench: Bench) -> dict[str, Callable[[], dict[str, Any]]]:
    made: dict[str, Callable[[], dict[str, Any]]] = {}
    for side in bench.scale.sides:
        made[f"workspace keys, {side}"] = lambda side=side: swept(bench, side, bench.scale.workspaces, workspace)
        made[f"feed-forward slices, {side}"] = lambda side=side: swept(bench, side, bench.scale.elements, slices)
    return made


@contextmanager
def workspace(bench: Bench, keys: int) -> Iterator[None]:
    if not hasattr(portrait, KEYS):
        raise Unavailable(f"{portrait.__name__} has no {KEYS} any more")
    with mock.patch.object(portrait, KEYS, keys):
        yield


@contextmanager
def slices(bench: Bench, elements: int) -> Iterator[None]:
    if not hasattr(layers, SLICES) or not hasattr(layers, SLICES_ELSEWHERE):
        raise Unavailable(f"{layers.__name__} has no {SLICES} any more")
    with mock.patch.dict(getattr(layers, SLICES), {bench.device.type: elements}):
        yield


@torch.inference_mode()
def swept(bench: Bench, side: int, values: tuple[int, ...], setting: Callable[[Bench, int], Any]) -> dict[str, Any]:
    """A whole step with each; with the usual one first and last, so that a drift is seen."""
    made = scene(bench, side)
    found: dict[str, Any] = {"usual": bench.clock(made.step, 0.5).figures}
    for value in values:
        with setting(bench, value):
            figures = bench.clock(made.step, 0.5).figures
            found[str(value)] = figures | bench.clock.peak(made.step, made.net.state_dict().values())
    found["usual again"] = bench.clock(made.step, 0.5).figures
    best = min(map(str, values), key=lambda value: found[value]["ms"])
    return {"best": int(best), "gain": 1 - found[best]["ms"] / found["usual"]["ms"], **found}
