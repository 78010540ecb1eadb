"""The command that measures a graphics card, as small as can be on a processor: nothing that fails costs the rest."""

import json
import os
import subprocess
import sys

import pytest
from shared import REPOSITORY

from benchmarks.gpu.plan import BLOCKS, Block
from benchmarks.gpu.targets import ESTIMATED, table

BROKEN = [f"broken_blocks:{how}" for how in ("raises", "dies", "hangs")]
WHOLE = "broken_blocks:whole"


def measured(folder, *arguments):
    file = folder / "gpu.json"
    command = [sys.executable, "-m", "benchmarks.gpu", *arguments, "--cpu", "--json", str(file)]
    path = os.pathsep.join(map(str, (REPOSITORY, REPOSITORY / "tests" / "helpers")))
    environment = {**os.environ, "PYTHONPATH": path}
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert ran.returncode == 0, ran.stderr[-2000:]
    return json.loads(file.read_text())["blocks"], ran.stdout


@pytest.mark.slow
def test_every_block_gives_figures_or_says_why_not(tmp_path):
    blocks, said = measured(tmp_path, "--all", "--minutes", "9", "--grace", "300")
    assert list(blocks) == [block.name for block in BLOCKS]
    for name, parts in blocks.items():
        for part, told in parts.items():
            assert told, f"{name}/{part}"
            assert "failed" not in told, f"{name}/{part}: {told}"
            assert told.get("reason") != "time ran out before it began", f"{name}/{part}"
    for name in ("rates", "steps", "correctness", "memory", "pixels", "redubs", "training", "compiled"):
        assert any("reason" not in told for told in blocks[name].values()), name
    assert blocks["steps"]["32 against plain"]["apart"] < 1e-5
    assert [told["wrong"] + told["broken"] for told in blocks["correctness"].values()] == [[]] * len(
        blocks["correctness"]
    )
    assert "share of the card's product rate" in said


def test_what_fails_dies_or_hangs_costs_nothing_else(tmp_path):
    blocks, said = measured(tmp_path, "--only", *BROKEN, WHOLE, "--grace", "-50")
    raised, died, hung = (blocks[name] for name in BROKEN)
    assert raised["before"] == {"value": 1}
    assert "out of memory" in raised["fails"]["failed"]
    assert "in fail" in raised["fails"]["where"]
    assert raised["after"] == {"ms": 2.0}
    assert "ended with 7" in died["dies"]["failed"]
    assert died["after"] == {"ms": 3.0}
    assert "it hung" in hung["hangs"]["failed"]
    assert hung["after"] == {"ms": 4.0}
    assert blocks[WHOLE]["part"] == {"ms": 5.0}
    assert all(name in said for name in (*BROKEN, WHOLE))


def test_every_target_is_told_with_or_without_a_figure():
    nothing = table({})
    assert "not measured" in nothing
    found = {
        "identity": {"device": {"name": "NVIDIA H100 80GB HBM3"}},
        "rates": {"product fp16": {"tflops": 680.0}},
        "steps": {"512": {"ms": 100.0, "tflops": 448.7}, "256": {"failed": "RuntimeError: no\nmore"}},
        "memory": {"512": {"peak_gb": 9.0}},
    }
    rows = table(found).splitlines()
    assert len(rows) == len(nothing.splitlines())
    share = next(row for row in rows if "product rate" in row)
    assert "0.6599" in share
    assert share.endswith("yes")
    assert next(row for row in rows if row.startswith("memory, 512")).endswith("NO")
    step = next(row for row in rows if row.startswith("guided step, 256"))
    assert f"about {ESTIMATED['H100'][1]}" in step
    assert step.endswith("RuntimeError: no")


def test_an_unknown_block_is_refused():
    with pytest.raises(ValueError, match="'stepz' is unknown; choose from identity, rates"):
        Block.named("stepz")
