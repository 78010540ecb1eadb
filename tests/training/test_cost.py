"""What a step is said to take, against PyTorch's own count of memory, and against a step that is made."""

import re
from dataclasses import replace
from functools import cache

import clips
import pytest
import small
import torch
from shared import REPOSITORY
from torch import nn
from torch.distributed._tools.mem_tracker import MemTracker
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from joyhallo.methods.hallo.networks.net import Net
from joyhallo.training import cost as counting
from joyhallo.training.__main__ import RECIPES
from joyhallo.training.cost import Counting, cost, main
from joyhallo.training.layers import TrainingOps
from joyhallo.training.recipe import build, read_recipe
from joyhallo.training.stage import Stage

pytestmark = pytest.mark.slow

SECOND = read_recipe(RECIPES / "stage2.toml", ["data.batch=1"])
SIZES = {
    name: list(value) if isinstance(value, tuple) else value
    for name, value in vars(small.SMALL).items()
    if name != "regional_audio"
}


SHALLOW = {**SIZES, "channels": [32, 64]}  # half as many blocks to count


def recipe(stage: str = "clips", **more):
    train = ["appearance"] if stage == "pictures" else ["audio", "motion"]
    told = {"stage": stage, "train": train, "net": SIZES, "data": {"batch": 2, "frames": 4, "motion_frames": 2}}
    return build({**told, **more})


def test_memory_is_that_of_pytorchs_own_tracker():
    def layers():
        with torch.device("meta"):
            made = [layer for _ in range(6) for layer in (nn.Linear(64, 64), nn.GELU())]
            return nn.Sequential(*made), torch.empty(1000, 64)

    net, given = layers()
    with Counting() as counted:
        net(given).square().mean().backward()
    net, given = layers()
    tracker = MemTracker()
    tracker.track_external(net, given)
    with tracker:
        net(given).square().mean().backward()
    (peak,) = tracker.get_tracker_snapshot("peak").values()
    there = given.nbytes + sum(parameter.nbytes for parameter in net.parameters())
    assert counted.most == peak["Total"] - there


@pytest.mark.parametrize("stage", ["pictures", "clips"])
def test_operations_are_those_of_a_step_that_is_made(stage):
    """Forward, where attention counts the same however it is computed."""
    told = recipe(stage)
    net = Net(small.SMALL, TrainingOps)
    with torch.device("meta"):
        batch, latents = counting._batch(told, small.SMALL, clips.SIZE)
    real = _real(batch)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as operations:
        Stage(net, told)(real, torch.zeros(latents.shape))
    with torch.device("meta"), torch.no_grad(), Counting() as counted, counting.AsCuda("no"):
        Stage(Net(small.SMALL, TrainingOps), told)(batch, latents)
    assert counted.operations == operations.get_total_flops()


def _real(part):
    if isinstance(part, torch.Tensor):
        return torch.ones_like(part, device="cpu")
    return type(part)(*map(_real, part)) if hasattr(part, "_fields") else [_real(each) for each in part]


def test_what_a_recipe_changes_changes_the_cost():
    plain = cost(recipe(net=SHALLOW), clips.SIZE)
    forgetful = cost(recipe(net=SHALLOW, checkpointing=True), clips.SIZE)
    assert forgetful.passing < plain.passing
    assert plain.operations < forgetful.operations < 1.5 * plain.operations
    twice = cost(recipe(net=SHALLOW, accumulate=2), clips.SIZE)
    assert (twice.operations, twice.passing) == (2 * plain.operations, plain.passing)
    assert cost(recipe(net=SHALLOW, precision="bf16"), clips.SIZE).passing < plain.passing
    light = recipe(net=SHALLOW)
    light = replace(light, optimizer=replace(light.optimizer, kind="adamw8bit"))
    assert cost(light, clips.SIZE).kept < plain.kept


@pytest.mark.parametrize("language", ["", ".zh-CN"])
def test_the_page_has_the_figures_that_are_counted(language):
    """The row of the second stage with a batch of 1, at full size: half a minute."""
    page = (REPOSITORY / "docs" / f"training{language}.md").read_text(encoding="utf-8")
    (row,) = re.findall(r"^\| stage2\W+`data.batch=1`.*", page, re.MULTILINE)
    memory, work, hours = re.search(r"([\d.]+) GB \| ([\d.]+) TFLOP \| ([\d.]+)", row).groups()
    lines = " ".join(counting.account(SECOND, _second(), counting.SPEED))
    assert f"each device: {memory} GB" in lines
    assert f"each step: {float(work):.3g}" in lines
    assert f"steps, {hours} hours" in lines


@cache
def _second() -> counting.Cost:
    return cost(SECOND)


def test_the_command_needs_neither_data_nor_weights(caplog):
    sizes = [option for name, value in SHALLOW.items() for option in ("--set", f"net.{name}={value}")]
    with caplog.at_level("INFO"):
        assert main(["stage2", "--size", "64", *sizes]) == 0
        assert main(["stage2", "--set", "net.chanels=3"]) == 1
    for said in ("memory for each device", "30,000 steps", "net.chanels is unknown"):
        assert said in caplog.text
