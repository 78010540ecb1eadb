"""Hostile files of weights: none runs anything, each is told in one sentence, at little cost in memory and time."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from hostile import Case, cases
from shared import REPOSITORY

from joyhallo.files.contents import WeightsError, contents
from joyhallo.files.weights import DTYPES, open_weights

STATE = {"layer.weight": torch.linspace(-1, 1, 64).reshape(8, 8), "layer.bias": torch.zeros(8)}
EXPECTED = "an ear, such as this one."
# Odd, but tensors by name: whether they fit a network is for its own loader to say.
OPEN = {"flat", "header-nothing", "nothing", "one-less", "one-more", "scalar", "torchscript", "wrapped-nothing"}

# What would take gigabytes or minutes if a claim was believed, and what nobody ever writes to
COSTLY = (
    "bomb.pth",
    "deep-tuples.bin",
    "deep.bin",
    "fifo.pth",
    "fifo.safetensors",
    "frame.bin",
    "lists.bin",
    "long-bytes.bin",
    "many-entries.pth",
    "many.bin",
    "memo.bin",
    "names-700000.safetensors",
    "sparse-bytes.bin",
    "spread.bin",
    "storage-of-a-terabyte.bin",
)
CALM = [case.name for case in cases(STATE, Path()) if case.name not in COSTLY]


@pytest.fixture(scope="module")
def mark(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("mark") / "ran"


@pytest.fixture(scope="module")
def known(mark) -> dict[str, Case]:
    return {case.name: case for case in cases(STATE, mark)}


def test_there_are_many_with_names_of_their_own(known):
    assert len(CALM) == len(set(CALM)) > 200
    assert known.keys() == {*CALM, *COSTLY}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CALM)
def test_one_sentence_and_nothing_run(known, mark, tmp_path, name):
    path = tmp_path / name
    known[name].write(path)
    mark.unlink(missing_ok=True)  # the tests run code when they write some of them
    said = told(path)
    assert not mark.exists()
    if name.rpartition(".")[0] in OPEN:
        assert said is None
        return
    assert said is not None
    check_sentence(said, name)


def check_sentence(said: str, name: str) -> None:
    assert name in said
    assert said.endswith(f". Expected {EXPECTED}")
    assert len(said) < 500
    assert "\n" not in said
    assert "weights_only" not in said


def told(path: Path) -> str | None:
    """What is said of a file; None if it can be opened."""
    with suppress(WeightsError):
        contents(path)
    try:
        state, header = open_weights(path, EXPECTED)
    except WeightsError as error:
        return str(error)
    assert all(tensor.dtype in DTYPES and tensor.numel() for tensor in state.values())
    assert all(isinstance(entry, str) for entry in header.values())
    return None


COST = """
import json, resource, sys, time
from contextlib import suppress
from pathlib import Path
from joyhallo.files.contents import WeightsError, contents
from joyhallo.files.weights import open_weights

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

expected, *files = sys.argv[1:]
for path in map(Path, files):
    before, start, said = peak(), time.process_time(), ""
    with suppress(WeightsError):
        contents(path)
    try:
        open_weights(path, expected)
    except WeightsError as error:
        said = str(error)
    print(json.dumps([path.name, said, peak() - before, time.process_time() - start]), flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is told in other units elsewhere")
def test_claims_cost_nothing(known, tmp_path):
    for name in COSTLY:
        known[name].write(tmp_path / name)
    command = [sys.executable, "-c", COST, EXPECTED, *(str(tmp_path / name) for name in COSTLY)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    costs = [json.loads(line) for line in done.stdout.splitlines()]
    assert [name for name, *_ in costs] == list(COSTLY)
    for name, said, memory, seconds in costs:
        check_sentence(said, name)
        assert memory < 200 << 20, (name, memory)
        assert seconds < 20, (name, seconds)
