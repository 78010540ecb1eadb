"""Sizes of blocks, which are compromises: how many keys at a time, how large the slices of a feed-forward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import torch

from joyhallo.diffusion.networks.portions import PORTIONS, portions

from .bench import Bench
from .scene import scene


def parts(bench: Bench) -> dict[str, Callable[[], dict[str, Any]]]:
    made: dict[str, Callable[[], dict[str, Any]]] = {}
    for side in bench.scale.sides:
        made[f"workspace keys, {side}"] = lambda side=side: swept(bench, side, bench.scale.workspaces, workspace)
        made[f"feed-forward slices, {side}"] = lambda side=side: swept(bench, side, bench.scale.elements, slices)
    return made


@contextmanager
def portioned(bench: Bench, **changed: int) -> Iterator[None]:
    kind = bench.device.type
    with mock.patch.dict(PORTIONS, {kind: replace(portions(bench.device), **changed)}):
        yield


def workspace(bench: Bench, keys: int) -> AbstractContextManager[None]:
    return portioned(bench, shared_keys=keys)


def slices(bench: Bench, elements: int) -> AbstractContextManager[None]:
    return portioned(bench, feed_forward=elements)


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
