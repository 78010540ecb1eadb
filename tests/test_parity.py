"""The original's numbers: a compact part of its recorded answers is carried here, the full set lies in shared."""

import json
import os

import parity
import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file
from shared import CARRIED, shared_folder

FULL_SIZE_BYTES = 14e9
SHARED = shared_folder()


def known() -> list:
    folders = {"carried": CARRIED}
    if SHARED is not None and (SHARED / "golden" / "index.json").exists():
        folders["shared"] = SHARED / "golden"
    return [
        pytest.param(case, id=f"{origin}-{case.name}")
        for origin, folder in folders.items()
        for case in parity.cases(folder)
    ]


@pytest.mark.parametrize("case", known())
def test_recorded_answers(case):
    if case.facts.get("config") == "full_config":
        if psutil.virtual_memory().available < FULL_SIZE_BYTES:
            pytest.skip(f"the full-size networks need {FULL_SIZE_BYTES / 1e9:.0f} GB of free memory")
        torch.set_num_threads(os.cpu_count() or 1)
    try:
        found = parity.run(case)
    except parity.Unsupported as reason:
        pytest.skip(str(reason))
    wrong = {name: off for name, off, _, right in parity.differences(case, found) if not right}
    assert not wrong


@pytest.mark.skipif(SHARED is None, reason="the full set of recorded answers is not here (../shared/golden)")
def test_the_full_set_is_here():
    assert (SHARED / "golden" / "index.json").exists()


def test_answers_come_from_inputs_alone(tmp_path):
    """With every stored answer spoiled, the same answers come out."""
    index = json.loads((CARRIED / "index.json").read_text())
    (tmp_path / "index.json").write_text(json.dumps(index))
    for case in parity.cases(CARRIED, ["mod_*", "step_a"]):
        tensors = load_file(CARRIED / case.facts["file"])
        spoiled = {k: v if k.startswith("in.") else torch.full_like(v, 7) for k, v in tensors.items()}
        save_file(spoiled, tmp_path / case.facts["file"])
        expected, found = parity.run(case), parity.run(parity.Case(case.name, tmp_path, index))
        assert all(torch.equal(expected[name], found[name]) for name in expected)
        assert any(not right for *_, right in parity.differences(parity.Case(case.name, tmp_path, index), found))
