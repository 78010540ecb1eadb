"""A step of training, second stage: speech and motion are learned at full size, with checkpointed gradients."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from joyhallo.diffusion.codec import LATENT_SCALE
from joyhallo.methods.hallo.networks.net import Net
from joyhallo.training.layers import TrainingOps
from joyhallo.training.recipe import Recipe, read_recipe
from joyhallo.training.samples import Batch, Conditions
from joyhallo.training.stage import Stage, encoded
from joyhallo.training.start import select

from .bench import DTYPES, SEED, Bench, Unavailable, drawn

RECIPE = "stage2.toml"


def parts(bench: Bench) -> dict[str, Callable[[], dict[str, Any]]]:
    rows, side = bench.scale.rows_trained, bench.scale.sides[0]
    made: dict[str, Callable[[], dict[str, Any]]] = {}
    for count in () if bench.small else rows:
        made[f"bf16, {count} at once"] = lambda count=count: trained(bench, side, count, "bf16")
    made["fp16 with scaled gradients"] = lambda: trained(bench, side, rows[0], "fp16")
    made["bf16, 8-bit Adam"] = lambda: trained(bench, side, rows[0], "bf16", "adamw8bit")
    if not bench.small:
        made["bf16, nothing forgotten"] = lambda: trained(bench, side, rows[0], "bf16", forgetful=False)
    return made


def recipe_of(optimizer: str, forgetful: bool) -> Recipe:
    from joyhallo.training.__main__ import RECIPES

    changes = [f"optimizer.kind={optimizer}", f"checkpointing={str(forgetful).lower()}", "start.weights="]
    return read_recipe(RECIPES / RECIPE, changes)


@dataclass
class Trained:
    stage: Stage
    optimizer: torch.optim.Optimizer
    scaler: Any
    batch: Batch
    dtype: torch.dtype
    loss: Tensor | None = None

    def step(self) -> None:
        device = self.batch.latents.device.type
        with torch.autocast(device, self.dtype):
            self.loss = self.stage(self.batch, encoded(self.batch, None)).weighted.mean()
        self.scaler.scale(self.loss).backward()
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.stage.parameters(), self.stage.recipe.optimizer.clip or float("inf"))
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()


def begun(bench: Bench, side: int, rows: int, dtype: str, optimizer: str, forgetful: bool) -> Trained:
    from joyhallo.training.trainer import _optimizer

    if optimizer == "adamw8bit" and importlib.util.find_spec("bitsandbytes") is None:
        raise Unavailable("bitsandbytes is not here")
    recipe = recipe_of(optimizer, forgetful)
    net = drawn(lambda: Net(bench.scale.config, TrainingOps), bench.device)
    parameters = list(select(net, recipe.train).values())
    scaler = torch.amp.GradScaler(bench.device.type, enabled=dtype == "fp16")
    batch = batch_of(bench, side, rows, recipe)
    return Trained(Stage(net, recipe), _optimizer(recipe, parameters), scaler, batch, DTYPES[dtype])


def batch_of(bench: Bench, side: int, rows: int, recipe: Recipe) -> Batch:
    """Random, with every condition given."""
    config, edge = bench.scale.config, side // LATENT_SCALE
    frames, references = recipe.frames, 1 + recipe.motion_frames
    if bench.small:
        frames = bench.scale.frames
    torch.manual_seed(SEED)
    shape = (config.latent_channels, edge, edge)
    yes = torch.ones(rows, dtype=torch.bool)
    made = Batch(
        pictures=torch.empty(rows, 0),
        latents=torch.randn(rows, references + frames, 2, *shape) - torch.tensor([0.0, 4.0])[:, None, None, None],
        spread=torch.randn(rows, references + frames, *shape),
        noise=torch.randn(rows, frames, *shape),
        timestep=torch.randint(recipe.schedule.train_steps, (rows,)),
        identity=torch.randn(rows, config.face_dim),
        known_faces=torch.ones(rows, references, dtype=torch.bool),
        locator=torch.rand(rows, 3, side, side),
        masks=[torch.rand(rows, 3, (edge >> level) ** 2) for level in range(config.levels)],
        windows=torch.randn(rows, frames, config.audio_window, config.audio_layers, config.audio_channels),
        given=Conditions(yes, yes, yes, yes, yes),
    )
    return _sent(made, bench.device)


def _sent(part: Any, device: torch.device) -> Any:
    if isinstance(part, Tensor):
        return part.to(device)
    if hasattr(part, "_fields"):
        return type(part)(*(_sent(one, device) for one in part))
    return [_sent(one, device) for one in part]


def trained(
    bench: Bench, side: int, rows: int, dtype: str, optimizer: str = "adamw", forgetful: bool = True
) -> dict[str, Any]:
    bench.forget()
    made = begun(bench, side, rows, dtype, optimizer, forgetful)
    peak = bench.clock.peak(made.step, made.stage.state_dict().values())
    figures = bench.clock(made.step, 2.0).figures
    assert made.loss is not None
    told = {"side": side, "rows": rows, "samples_per_s": 1e3 * rows / figures["ms"], "loss": made.loss.item()}
    count = sum(p.numel() for p in made.stage.parameters() if p.requires_grad)
    return {**told, **figures, **peak, "trained": count, "scale": made.scaler.get_scale()}
