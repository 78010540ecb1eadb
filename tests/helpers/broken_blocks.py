"""Blocks of a benchmark that go wrong, each in its own way, beside parts that do not, and one that is whole."""

from __future__ import annotations

import os
import time


def raises(bench):
    def fail():
        raise RuntimeError("CUDA out of memory, as it might say")

    return {"before": lambda: 1, "fails": fail, "after": lambda: {"ms": 2.0}}


def dies(bench):
    return {"dies": lambda: os._exit(7), "after": lambda: {"ms": 3.0}}


def hangs(bench):
    return {"hangs": lambda: time.sleep(1000), "after": lambda: {"ms": 4.0}}


def whole(bench):
    return {"part": lambda: {"ms": 5.0}}
