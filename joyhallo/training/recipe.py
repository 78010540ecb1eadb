"""Recipes: the settings of a training run, read from a TOML file and checked before anything begins."""

from __future__ import annotations

import difflib
import math
import sys
import types
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from ..diffusion.schedule import ScheduleConfig
from ..libraries import library
from ..methods.hallo.config import CHUNK_FRAMES, GUIDANCE, MOTION_FRAMES

STAGES = ("pictures", "clips")
GROUPS: tuple[str, ...] = ("appearance", "audio", "motion")
PRECISIONS = ("no", "bf16", "fp16")
OPTIMIZERS = ("adamw", "adamw8bit")
DECAYS = ("constant", "cosine", "linear")


class RecipeError(ValueError):
    """A recipe cannot be followed; the message is for the user."""


@dataclass(frozen=True)
class Data:
    folder: str = ""  # a dataset of joyhallo.data.prepare or synthesize
    batch: int = 4  # samples at once on each device
    workers: int = 2  # processes that read samples ahead
    frames: int = CHUNK_FRAMES  # of each sample, for the stage of clips
    motion_frames: int = MOTION_FRAMES  # that came before them
    apart: int = 30  # frames between reference and target, for the stage of pictures


@dataclass(frozen=True)
class Start:
    weights: str = ""  # net.pth of JoyHallo or Hallo, or a model that another stage made; nothing: from seeded noise
    fresh: tuple[str, ...] = ()  # groups that begin anew, whatever the file has


@dataclass(frozen=True)
class Codec:
    path: str = ""  # an autoencoder (folder or file) or a file of patches; what the dataset's latents were made with


@dataclass(frozen=True)
class Drop:
    """Probabilities of dropping conditions, for each sample independently."""

    appearance: float = 0.0  # neither face tokens nor reference
    reference: float = 0.0  # neither reference nor the frames before
    audio: float = 0.0  # the audio tokens are zero
    start: float = 0.0  # nothing came before: see Recipe.start_frames
    everything: float = 0.0  # what guidance leaves its unconditional row: the frames before, and nothing else
    identity: float = 0.0  # it is nobody's: the neutral identity of whoever has no recogniser
    reference_face: float = 0.0  # a reference picture is encoded with the face tokens of nobody


@dataclass(frozen=True)
class Loss:
    snr_gamma: float = 5.0  # 0: all noise levels weigh the same
    noise_offset: float = 0.05
    lip_weight: float = 1.0  # how much more an error counts where the lip mask is full


@dataclass(frozen=True)
class Optimizer:
    kind: str = "adamw"
    learning_rate: float = 1e-5
    final_rate: float = 0.0  # what cosine and linear decay end at
    warmup: int = 0  # steps
    decay: str = "constant"
    betas: tuple[float, ...] = (0.9, 0.999)
    weight_decay: float = 1e-2
    epsilon: float = 1e-8
    clip: float = 1.0  # the largest norm of the gradients; 0: any


@dataclass(frozen=True)
class Save:
    every: int = 500  # steps
    keep: int = 3  # checkpoints to resume from; older ones go
    precision: str = "fp16"  # of the model for use
    log_every: int = 10


@dataclass(frozen=True)
class Validation:
    every: int = 0  # steps; 0: never
    samples: int = 16  # of the validation split, whose loss is measured
    videos: int = 1  # clips that are sampled, with the public sampler
    frames: int = 2 * CHUNK_FRAMES  # of each of them at most
    steps: int = 20
    guidance: float = GUIDANCE
    device: str = ""  # where; nothing: where training is


@dataclass(frozen=True)
class Recipe:
    name: str = "run"
    stage: str = "clips"
    steps: int = 30_000
    seed: int = 42
    train: tuple[str, ...] = ("audio", "motion")
    precision: str = "no"
    device: str = ""  # nothing: what accelerate finds
    checkpointing: bool = False  # less memory, a third more time
    accumulate: int = 1  # batches for each step
    average: float = 0.0  # decay of the weights' running average, which becomes the model; 0: none is kept
    start_frames: str = "grey"  # what stands in for frames that never came: grey, or the portrait, as in sampling
    reference_compat: bool = False  # reference features as the original has them: in half precision, tokens in turns
    output: str = "runs"

    data: Data = field(default_factory=Data)
    start: Start = field(default_factory=Start)
    net: Mapping[str, Any] = field(default_factory=dict)  # sizes that differ from the published ones
    codec: Codec = field(default_factory=Codec)
    schedule: ScheduleConfig = field(default_factory=lambda: ScheduleConfig(beta_schedule="scaled_linear"))
    sampling: ScheduleConfig = field(default_factory=ScheduleConfig)  # what the model says it is sampled with
    drop: Drop = field(default_factory=Drop)
    loss: Loss = field(default_factory=Loss)
    optimizer: Optimizer = field(default_factory=Optimizer)
    save: Save = field(default_factory=Save)
    validation: Validation = field(default_factory=Validation)

    def __post_init__(self) -> None:
        _choice("stage", self.stage, STAGES)
        _choice("precision", self.precision, PRECISIONS)
        _choice("start_frames", self.start_frames, ("grey", "portrait"))
        _choice("optimizer.kind", self.optimizer.kind, OPTIMIZERS)
        _choice("optimizer.decay", self.optimizer.decay, DECAYS)
        _choice("save.precision", self.save.precision, ("fp16", "bf16", "fp32"))
        for group in (*self.train, *self.start.fresh):
            _choice("train and start.fresh", group, GROUPS)
        if not self.train:
            raise RecipeError(f"`train` is empty; choose from {', '.join(GROUPS)}.")
        if self.stage == "pictures" and tuple(self.train) != ("appearance",):
            raise RecipeError('Pictures neither hear nor move: the stage "pictures" trains ["appearance"] alone.')
        for name, share in asdict(self.drop).items():
            if not 0 <= share <= 1:
                raise RecipeError(f"drop.{name} is {share}; give a probability from 0 to 1.")
        for name, least in LEAST.items():
            if (found := self._at(name)) < least:
                raise RecipeError(f"{name} is {found}; give at least {least}.")
        if len(self.optimizer.betas) != 2:
            raise RecipeError(f"optimizer.betas has {len(self.optimizer.betas)} numbers; give two.")

    def _at(self, name: str) -> Any:
        found: Any = self
        for part in name.split("."):
            found = getattr(found, part)
        return found

    @property
    def frames(self) -> int:
        return 1 if self.stage == "pictures" else self.data.frames

    @property
    def motion_frames(self) -> int:
        return 0 if self.stage == "pictures" else self.data.motion_frames

    @property
    def folder(self) -> Path:
        return Path(self.output) / self.name

    def facts(self) -> dict[str, Any]:
        """Settings that affect the result, by dotted name. The number of steps does if the rate decays towards it."""
        untold = UNTOLD if self.optimizer.decay != "constant" else (*UNTOLD, "steps")
        return {name: value for name, value in flat(asdict(self)).items() if not name.startswith(untold)}


LEAST = {
    "steps": 1,
    "accumulate": 1,
    "average": 0,
    "data.batch": 1,
    "data.workers": 0,
    "data.frames": 1,
    "data.motion_frames": 0,
    "save.every": 1,
    "save.keep": 1,
    "save.log_every": 1,
    "validation.every": 0,
    "loss.snr_gamma": 0,
    "optimizer.warmup": 0,
}
# Paths may move between two sessions of a run.
UNTOLD = ("name", "output", "device", "data.folder", "data.workers", "start.weights", "codec.path", "save.",
          "validation.", "checkpointing")  # fmt: skip


def flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in table.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = list(value) if isinstance(value, tuple) else value
    return found


def _choice(name: str, found: str, known: Iterable[str]) -> None:
    if found not in known:
        raise RecipeError(f"{name} is {found!r}; choose one of {', '.join(known)}.")


# ---- reading


def read_recipe(path: str | Path, changes: Iterable[str] = ()) -> Recipe:
    """Read a recipe from its file, with changes such as `data.folder="there"` (dotted name, TOML value)."""
    path = Path(path)
    try:
        table = toml(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        remedy = "give a recipe: a .toml file, or one of the names that --help lists"
        raise RecipeError(f"{path} cannot be read ({error.strerror}); {remedy}.") from error
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals:
            raise RecipeError(f"{change!r} changes nothing; write NAME=VALUE, such as data.batch=2.")
        _put(table, name.strip().split("."), _value(value.strip()))
    return build(table)


def build(table: Mapping[str, Any]) -> Recipe:
    return _read(Recipe, table, "")


def toml(text: str, name: str) -> dict[str, Any]:
    use = "Reading a recipe with a Python before 3.11"
    reader = library("tomllib" if sys.version_info >= (3, 11) else "tomli", use)
    try:
        return reader.loads(text)
    except reader.TOMLDecodeError as error:
        raise RecipeError(f"{name} is not valid TOML: {error}.") from error


def _value(text: str) -> Any:
    """Parse a TOML value; text without quotes is a string."""
    try:
        return toml(f"value = {text}", text)["value"]
    except RecipeError:
        return text


def _put(table: dict[str, Any], names: list[str], value: Any) -> None:
    for name in names[:-1]:
        table = table.setdefault(name, {})
    table[names[-1]] = value


def _read(kind: type, table: Mapping[str, Any], where: str) -> Any:
    hints = get_type_hints(kind)
    known = [f.name for f in fields(kind)]
    for name in table:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {where}{near[0]}?" if near else f"known are {', '.join(known)}."
            raise RecipeError(f"{where}{name} is unknown; {hint}")
    return kind(**{name: _fitted(hints[name], value, where + name) for name, value in table.items()})


def _fitted(hint: Any, value: Any, name: str) -> Any:
    """Convert a value to its field's type: integers to floats, lists to tuples."""
    if is_dataclass(hint) and isinstance(value, Mapping):
        return _read(hint, value, f"{name}.")  # type: ignore[arg-type]
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(kind for kind in get_args(hint) if kind is not type(None))
    if get_origin(hint) is tuple and isinstance(value, list):
        return tuple(_fitted(get_args(hint)[0], item, name) for item in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and not is_dataclass(hint):
        if isinstance(value, hint) and isinstance(value, bool) == (hint is bool):
            return value
    elif get_origin(hint) is not None and isinstance(value, Mapping):
        return dict(value)
    wanted = "a table" if is_dataclass(hint) or get_origin(hint) else getattr(hint, "__name__", str(hint))
    raise RecipeError(f"{name} is {value!r}; expected {wanted}.")


# ---- the learning rate


def rate(settings: Optimizer, step: int, steps: int) -> float:
    """The learning rate of a step, counted from 0: a function of the step alone, so that resuming needs no state."""
    peak, last = settings.learning_rate, settings.final_rate
    if step < settings.warmup:
        return peak * (step + 1) / settings.warmup
    if settings.decay == "constant":
        return peak
    way = min(1.0, (step - settings.warmup) / max(1, steps - settings.warmup))
    share = (1 + math.cos(math.pi * way)) / 2 if settings.decay == "cosine" else 1 - way
    return last + (peak - last) * share
