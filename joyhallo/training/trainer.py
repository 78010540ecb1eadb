"""`train`, the training loop of both stages, on one device or many, and `dry_run`."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ..data.dataset import Clip, none_held_out, open_dataset
from ..diffusion.codec import AutoencoderCodec, CodecConfig, PatchCodec, load_codec
from ..files.space import amount
from ..libraries import library
from ..methods.hallo.config import ModelConfig
from . import checkpoints
from .average import Average
from .checkpoints import State
from .recipe import Recipe, RecipeError, rate
from .report import Report
from .samples import Batch, Numbers, Samples, collate, fitting
from .stage import Stage, encoded
from .start import begin, check_files, select
from .validation import Studio

log = logging.getLogger(__name__)

PATIENCE = timedelta(hours=1)  # for the others, while the first process writes gigabytes


class TrainingError(RuntimeError):
    """A run cannot go on; the message is for the user."""


@dataclass
class Run:
    """The state of a run."""

    recipe: Recipe
    accelerator: Any
    config: ModelConfig
    stage: nn.Module  # as accelerate wraps it
    parameters: dict[str, nn.Parameter]  # those that are trained
    optimizer: Any
    codec: Any
    average: Average | None
    clips: Sequence[Clip]
    others: Sequence[Clip]  # of the validation split
    cached: bool  # the clips bring their latents
    step: int = 0  # how many were made

    @property
    def bare(self) -> Stage:
        return self.accelerator.unwrap_model(self.stage)

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes."""
        return self.accelerator.is_main_process

    def weights(self, averaged: bool = False) -> dict[str, Tensor]:
        state = self.bare.net.state_dict()
        return {**state, **self.average.weights} if averaged and self.average is not None else state


# ---- before the first step


def prepare(recipe: Recipe) -> Run:
    check_files(recipe)
    accelerator = _accelerator(recipe)
    codec = load_codec(recipe.codec.path, device=accelerator.device) if recipe.codec.path else None
    net, config = begin(recipe, _about(codec))
    clips, others = _clips(recipe, config, tell=accelerator.is_main_process)
    cached = all("latents" in clip.record.files for clip in (*clips, *others))
    _check_codec(recipe, config, codec, cached)
    if cached and codec is not None:
        _check_latents(clips[0], codec, accelerator.device)
    parameters = select(net, recipe.train)
    optimizer = _optimizer(recipe, list(parameters.values()))
    stage, optimizer = accelerator.prepare(Stage(net, recipe), optimizer)
    average = Average(parameters, recipe.average) if recipe.average and accelerator.is_main_process else None
    return Run(recipe, accelerator, config, stage, parameters, optimizer, codec, average, clips, others, cached)


def _accelerator(recipe: Recipe) -> Any:
    accelerate = library("accelerate", "Training")
    # conditions that are dropped, and the last layers of the reference network, leave parameters without gradients
    handlers = [
        accelerate.DistributedDataParallelKwargs(find_unused_parameters=True),
        accelerate.InitProcessGroupKwargs(timeout=PATIENCE),
    ]
    return accelerate.Accelerator(
        mixed_precision=recipe.precision, cpu=recipe.device == "cpu" or None, kwargs_handlers=handlers
    )


def _about(codec: Any) -> CodecConfig:
    if isinstance(codec, PatchCodec):
        return CodecConfig("patches", 1.0)
    return CodecConfig(scale=codec.scale) if isinstance(codec, AutoencoderCodec) else CodecConfig()


def _clips(recipe: Recipe, config: ModelConfig, tell: bool) -> tuple[list[Clip], list[Clip]]:
    """The usable clips of both splits. Unusable ones are reported, with the reason, before the first step."""
    if not recipe.data.folder:
        raise RecipeError("The recipe names no dataset; set data.folder, or give --set data.folder=FOLDER.")
    needs = () if recipe.stage == "pictures" else ("speech",)
    dataset = open_dataset(recipe.data.folder, needs=needs)
    clips, short = fitting(dataset.clips, recipe, config.net)
    others, _ = fitting(open_dataset(recipe.data.folder, "validation", needs=needs).clips, recipe, config.net)
    problems = [*dataset.problems, *short]
    if tell:
        for problem in problems:
            log.warning("not used: %s (%s): %s", problem.id, problem.source, problem.reason)
        log.info("%d clips to train with, %d to validate with, %d not used", len(clips), len(others), len(problems))
        if recipe.validation.every and clips and not others:
            log.warning("%s", none_held_out(clip.record.speaker for clip in clips))
    if not clips:
        raise RecipeError(f"{recipe.data.folder} has no clip that suits this recipe; see the reasons above.")
    return clips, others


def _check_codec(recipe: Recipe, config: ModelConfig, codec: Any, cached: bool) -> None:
    grey = recipe.stage == "clips" and recipe.drop.start and recipe.start_frames == "grey"
    why = None
    if not cached:
        why = "the dataset brings no latents"
    elif grey:
        why = "frames that never came are grey, of which the dataset has no latents"
    elif recipe.validation.every and recipe.validation.videos:
        why = "validation makes videos"
    if why and codec is None:
        raise RecipeError(f"A codec is needed, since {why}; name one as codec.path.")
    if codec is not None:
        side = config.net.size_multiple
        channels = codec.posterior(torch.zeros(1, 3, side, side))[0].shape[1]
        if channels != config.net.latent_channels:
            raise RecipeError(
                f"{recipe.codec.path} makes latents of {channels} channels, but the network takes "
                f"{config.net.latent_channels} (net.latent_channels)."
            )


def _check_latents(clip: Clip, codec: Any, device: torch.device) -> None:
    """Raise unless the clip's latents come from this codec."""
    kept = clip.latents([0])
    assert kept is not None
    made = codec.posterior(clip.frames([0]).to(device))[0].cpu().float()
    if (kept[0] - made).std() > 0.1 * made.std():
        raise RecipeError(
            "The dataset's latents were made with another codec than codec.path. Name that one, or prepare the "
            "dataset again."
        )


def _optimizer(recipe: Recipe, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    settings = recipe.optimizer
    kind: Any = partial(torch.optim.AdamW, fused=True)
    if settings.kind == "adamw8bit":
        otherwise = 'without it, take optimizer.kind = "adamw"'
        kind = library("bitsandbytes", "The optimizer adamw8bit", otherwise).optim.AdamW8bit
    return kind(
        parameters,
        lr=settings.learning_rate,
        betas=settings.betas,
        weight_decay=settings.weight_decay,
        eps=settings.epsilon,
    )


def samples(run: Run, clips: Sequence[Clip], purpose: str = "train") -> Samples:
    grey = None
    if run.cached:
        side = clips[0].size
        grey = torch.zeros(2, 1, 1, 1)
        if run.codec is not None:
            picture = torch.zeros(1, 3, side, side, device=run.accelerator.device)
            grey = torch.cat(run.codec.posterior(picture)).cpu().float()
    return Samples(clips, run.recipe, run.config.net, grey, purpose=purpose)


def numbers(run: Run, steps: int) -> Numbers:
    """The numbers of this process's samples up to a step."""
    recipe, accelerator = run.recipe, run.accelerator
    place = accelerator.process_index, accelerator.num_processes
    return Numbers(run.step, steps, recipe.data.batch, recipe.accumulate, *place)


def batches(run: Run, drawn: Samples, wanted: Iterable[list[int]], workers: int) -> Iterator[Batch]:
    loader = DataLoader(
        drawn,
        batch_sampler=wanted,  # type: ignore[arg-type]
        collate_fn=collate,
        num_workers=workers,
        pin_memory=run.accelerator.device.type == "cuda",
        worker_init_fn=_not_asked_to_stop,
    )
    send = library("accelerate.utils", "Training").send_to_device
    return (send(batch, run.accelerator.device, non_blocking=True) for batch in loader)


def _not_asked_to_stop(worker: int) -> None:
    """Ignore signals in loader workers: job managers often signal all processes, but the current step still needs
    samples, and the loader ends its workers itself."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


# ---- a step


@dataclass
class Measured:
    """Sums since the last line of the report, on the device: reading them would wait for it."""

    steps: int = 0
    figures: dict[str, Tensor] = field(default_factory=dict)
    since: float = field(default_factory=time.perf_counter)

    def add(self, **figures: Tensor) -> None:
        self.steps += 1
        for name, figure in figures.items():
            self.figures[name] = self.figures[name] + figure if name in self.figures else figure

    def means(self, accelerator: Any) -> dict[str, float]:
        """Mean figures over steps and processes."""
        names = sorted(self.figures)
        together = torch.stack([self.figures[name].float() for name in names]) / self.steps
        return dict(zip(names, accelerator.reduce(together, "mean").tolist(), strict=True))


def make_step(run: Run, coming: Iterator[Batch]) -> dict[str, Tensor]:
    """One step of the optimizer, over as many batches as the recipe accumulates."""
    recipe, accelerator = run.recipe, run.accelerator
    for group in run.optimizer.param_groups:
        group["lr"] = rate(recipe.optimizer, run.step, recipe.steps)
    loss = mse = torch.zeros((), device=accelerator.device)
    for part in range(recipe.accumulate):
        batch = next(coming)
        last = part == recipe.accumulate - 1
        with contextlib.nullcontext() if last else accelerator.no_sync(run.stage):
            losses = run.stage(batch, encoded(batch, run.codec))
            share = losses.weighted.mean() / recipe.accumulate
            accelerator.backward(share)
        loss, mse = loss + share.detach(), mse + losses.plain.mean() / recipe.accumulate
    norm = accelerator.clip_grad_norm_(list(run.parameters.values()), recipe.optimizer.clip or math.inf)
    run.optimizer.step()
    run.optimizer.zero_grad()
    run.step += 1
    if run.average is not None:
        run.average.update(run.step)
    return {"loss": loss, "mse": mse, "grad_norm": norm}


@torch.no_grad()
def validation_loss(run: Run) -> float:
    """The loss on fixed samples with fixed noise, nothing dropped; each process takes a share of them."""
    count, processes = run.recipe.validation.samples, run.accelerator.num_processes
    drawn = samples(run, run.others, "validation")
    mine = [[number] for number in range(run.accelerator.process_index, count, processes)]
    total = torch.zeros(2, device=run.accelerator.device)
    with run.accelerator.autocast():
        for batch in batches(run, drawn, mine, workers=0):
            weighted = run.bare(batch, encoded(batch, run.codec)).weighted
            total += torch.stack([weighted.sum(), weighted.new_tensor(len(weighted))])
    total = run.accelerator.reduce(total, "sum")
    return (total[0] / total[1]).item()


# ---- the loop


def train(recipe: Recipe, *, fresh: bool = False) -> bool:
    """Follow a recipe to its end, resuming an earlier session. Returns False if it was stopped before the end."""
    folder = recipe.folder
    run = prepare(recipe)
    parameters = sum(tensor.numel() for tensor in run.weights().values())
    checkpoints.check_room(recipe, parameters, sum(p.numel() for p in run.parameters.values()))
    if fresh and run.is_first:
        checkpoints.clear(folder)
    run.accelerator.wait_for_everyone()
    resume(run)
    if run.is_first:
        folder.mkdir(parents=True, exist_ok=True)
        checkpoints.write_recipe(folder, recipe)
    report = Report(folder, run.step) if run.is_first else None
    studio = Studio(folder, recipe, run.accelerator.device) if run.is_first else None
    with _asked_to_stop() as asked:
        finished = _loop(run, report, studio, asked)
    if report is not None:
        report.close()
    if studio is not None and finished:
        studio.finish()
        log.info("%s", _ready(recipe))
    run.accelerator.end_training()
    return finished


def _ready(recipe: Recipe) -> str:
    model = recipe.folder / checkpoints.MODEL
    if recipe.stage == "pictures":
        return f"Finished: {model}. It cannot speak yet: train the second stage with --set start.weights={model}."
    return (
        f"Finished: {model}. Copy it to ComfyUI/models/joyhallo/{recipe.name}/{checkpoints.MODEL} and choose "
        f"{recipe.name}/{checkpoints.MODEL} as checkpoint in Load JoyHallo Models."
    )


def _loop(run: Run, report: Report | None, studio: Studio | None, asked: list[int]) -> bool:
    recipe, measured, stopping = run.recipe, Measured(), False
    coming = batches(run, samples(run, run.clips), numbers(run, recipe.steps), recipe.data.workers)
    while run.step < recipe.steps and not stopping:
        measured.add(**make_step(run, coming))
        due = run.step % recipe.save.every == 0 or run.step == recipe.steps
        validating = bool(recipe.validation.every) and run.step % recipe.validation.every == 0
        telling = due or validating or run.step % recipe.save.log_every == 0
        stopping = _to_stop(run, asked, telling)
        if telling or stopping:
            _tell(run, measured, report, validating and bool(run.others))
            measured = Measured()
        if due or stopping:
            save(run)
        if studio is not None and (due or stopping or validating):
            write_model(run)
        if studio is not None and validating and run.others:
            studio.show(run.step)
    return run.step >= recipe.steps


def _to_stop(run: Run, asked: list[int], telling: bool) -> bool:
    """Whether to stop. One process may stop after any step; several agree at steps where they synchronise anyway."""
    if run.accelerator.num_processes == 1:
        return bool(asked)
    if not telling:
        return False
    votes = torch.tensor(float(bool(asked)), device=run.accelerator.device)
    return bool(run.accelerator.reduce(votes, "sum") > 0)


def _tell(run: Run, measured: Measured, report: Report | None, validating: bool) -> None:
    """Report figures: all processes measure, the first one writes."""
    recipe, spent = run.recipe, time.perf_counter() - measured.since
    seen = measured.steps * recipe.data.batch * recipe.accumulate * run.accelerator.num_processes
    figures = measured.means(run.accelerator)
    if validating:
        figures["validation_loss"] = validation_loss(run)
    if report is not None:
        report.add(run.step, **figures, **_circumstances(run), samples_per_second=seen / spent)
    if not math.isfinite(figures["loss"]):
        last = checkpoints.steps(recipe.folder)[-1:] or ["none"]
        raise TrainingError(
            f"The loss is {figures['loss']} at step {run.step}; the last checkpoint: {last[0]}. Resume from there "
            "with a lower optimizer.learning_rate, or with precision bf16 or no."
        )


def _circumstances(run: Run) -> dict[str, float]:
    figures = {"learning_rate": run.optimizer.param_groups[0]["lr"]}
    if run.accelerator.device.type == "cuda":
        figures["peak_gigabytes"] = torch.cuda.max_memory_allocated() / 1e9
    return figures


@contextlib.contextmanager
def _asked_to_stop() -> Iterator[list[int]]:
    """Collect signals to terminate; the loop then ends after its step, with a checkpoint."""
    asked: list[int] = []
    before = {}
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(ValueError):  # not the main thread, where signals cannot be caught
            before[number] = signal.signal(number, lambda number, _: asked.append(number))
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# ---- saving and resuming


def save(run: Run) -> None:
    if not run.is_first:
        return
    scaler = getattr(run.accelerator, "scaler", None)
    state = State(run.step, facts(run), digest(run.clips), scaler.state_dict() if scaler else {})
    average = run.average.weights if run.average is not None else None
    optimizer = run.optimizer.optimizer.state_dict()
    checkpoints.save(run.recipe.folder, state, run.weights(), run.config, optimizer, average, run.recipe.save.keep)
    log.info("checkpoint of step %d", run.step)


def write_model(run: Run) -> None:
    path = run.recipe.folder / checkpoints.MODEL
    checkpoints.write_model(path, run.weights(averaged=True), run.config, checkpoints.DTYPES[run.recipe.save.precision])


def resume(run: Run) -> None:
    """Resume from the newest checkpoint, if there is one."""
    there = checkpoints.steps(run.recipe.folder)
    if not there:
        return
    loaded = checkpoints.load(run.recipe.folder, there[-1])
    checkpoints.check_same(loaded.state, facts(run), digest(run.clips))
    run.bare.net.load_state_dict(loaded.weights)
    run.optimizer.optimizer.load_state_dict(loaded.optimizer)
    if run.average is not None:
        run.average.load(loaded.average)
    if loaded.state.scaler:
        run.accelerator.scaler.load_state_dict(loaded.state.scaler)
    run.step = loaded.state.step
    log.info("resuming from step %d", run.step)


def facts(run: Run) -> dict[str, Any]:
    """All settings that affect the result, including the number of processes."""
    return {**run.recipe.facts(), "processes": run.accelerator.num_processes}


def digest(clips: Sequence[Clip]) -> str:
    """A digest of the clips, in order."""
    facts = [(clip.id, clip.length, clip.record.files["video"].sha256) for clip in clips]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


# ---- before a long run


def dry_run(recipe: Recipe, steps: int = 2) -> Iterator[str]:
    """Run a few steps and report what a run would need. Nothing is written."""
    from .memory import account, peak

    run = prepare(recipe)
    yield from account(run.bare.net, recipe, run.average is not None)
    coming = batches(run, samples(run, run.clips), numbers(run, steps), workers=0)
    for _ in range(steps):
        began = time.perf_counter()
        figures = {name: figure.item() for name, figure in make_step(run, coming).items()}
        if not math.isfinite(figures["loss"]):
            raise TrainingError(f"The loss of step {run.step} is {figures['loss']}; see optimizer and precision.")
        yield f"step {run.step}: loss {figures['loss']:.4f}, {time.perf_counter() - began:.2f} s"
    if most := peak(run.accelerator.device):
        yield f"peak memory: {amount(most)} on {run.accelerator.device}"
    run.accelerator.end_training()
