"""The text output of nodes that make videos: what was used and how it went, for requests for help."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import comfy.model_management
import torch
from comfyui_version import __version__ as comfyui_version
from torch import Tensor

from ..joyhallo import __version__
from ..joyhallo.config import FPS
from ..joyhallo.files.fingerprint import of_file, of_module
from ..joyhallo.methods.hallo.config import REGIONS
from ..joyhallo.methods.hallo.portrait import Prepared
from ..joyhallo.methods.hallo.sampling import Settings
from ..joyhallo.methods.hallo.steadiness import Steadiness
from ..joyhallo.notices import Notice
from .comfy_adapter import JoyHalloModel
from .labels import Wishes

LIBRARIES = ("transformers", "insightface", "mediapipe", "onnxruntime", "av")
SHORT = 12  # digits of a digest that tell weights apart
MOST_TOLD = 20  # stretches of frames


def used(take: Any, preset: str) -> str:
    """Describe a run of the sampler, with a line for each part."""
    face: Prepared = take.face
    lines = {
        "Versions": versions(),
        "Device": device(take.model.device),
        "Checkpoint": f"{take.model.name}, a {_kind(take.model)}, in {take.model.precision}"
        f"{'' if take.model.compiled is None else ', compiled'}",
        "Speech": f"{take.speech.encoder}, {take.speech.length / FPS:.2f} s",
        "VAE": f"weights {of_module(take.vae.first_stage_model)[:SHORT]}, in {_named(take.vae.vae_dtype)}",
        "Picture": _picture(face),
        "Sampling": _sampling(take.settings, preset),
        "Frames": f"{sized(face.crop.size)}, {'put into the whole picture' if take.whole else 'as they are'}"
        f"{'' if take.background is None else ' of another video'}",
        "Steadiness": _steadiness(take.steadiness),
        "Labels": labels() if take.background is None else f"{labels()}; of the background: {take.marks}",
    }
    return listed(lines)


def listed(lines: Mapping[str, str]) -> str:
    return "\n".join(f"{name}: {words}" for name, words in lines.items())


def shown(facts: Iterable[str]) -> str:
    """Each line by itself, also in Preview as Text: some pages read it as Markdown, where two spaces end a line."""
    return "\n".join(facts).replace("\n", "  \n")


def begin_hashing(model: JoyHalloModel) -> None:
    """Start hashing the checkpoint now, to be done by the time the video is."""
    with suppress(OSError):
        of_file(model.path)


def hashed(model: JoyHalloModel) -> str:
    try:
        return f"Checkpoint's SHA-256: {of_file(model.path).result()}"
    except OSError as error:
        return f"Checkpoint's SHA-256: unknown, as the file can no longer be read ({error.strerror})"


def warnings(notices: Iterable[Notice]) -> list[str]:
    """Lines; none without a notice."""
    told = [f"- {notice}" for notice in notices]
    return ["Warnings:", *told] if told else []


def faceless(missing: Sequence[range], rate: Fraction, first: int = 0) -> list[str]:
    """Lines on stretches of frames, counted from the video's frame `first` on; none without one."""
    seconds = [[f"{float((first + end) / rate):.2f}" for end in (gap.start, gap.stop)] for gap in missing[:MOST_TOLD]]
    where = [f"- {start} to {stop} s" for start, stop in seconds]
    more = [f"- and {len(missing) - MOST_TOLD} more"] if len(missing) > MOST_TOLD else []
    return ["Without a face, left as they were, in the video's own time:", *where, *more] if missing else []


def versions() -> str:
    ours = f"JoyHallo nodes {__version__}, ComfyUI {comfyui_version}, Python {platform.python_version()}"
    return ", ".join([ours, f"PyTorch {torch.__version__}", *_libraries()])


def _libraries() -> Iterator[str]:
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            yield f"{name} {version(name)}"


def device(used: torch.device) -> str:
    manager = comfy.model_management
    memory = manager.get_total_memory(used) / 2**30
    name, system = manager.get_torch_device_name(used), platform.system()
    return f"{name}, {memory:.1f} GiB, {manager.vram_state.name}, on {system}"


def _kind(model: JoyHalloModel) -> str:
    return f"{'Hallo' if model.config.net.regional_audio else 'JoyHallo'} network, weights {model.fingerprint[:SHORT]}"


def _picture(face: Prepared) -> str:
    window = face.crop.box
    found = "no face detection" if face.found is None else f"face {face.found.number} of {len(face.found.boxes)}"
    identity = "from the picture" if face.identity.any() else "neutral"
    return f"{sized(face.crop.picture)}, {found}, window {window}, identity {identity}"


def _sampling(settings: Settings, preset: str) -> str:
    return (
        f"seed {settings.seed}, preset {preset} with {settings.solver} and {settings.steps} steps, cfg "
        f"{settings.guidance:g}, weights {_weights(settings)}"
    )


def _weights(settings: Settings) -> str:
    rows = torch.as_tensor(settings.weights, dtype=torch.float32).reshape(-1, len(REGIONS))
    return ", ".join(f"{name} {span(values)}" for name, values in zip(REGIONS, rows.unbind(1), strict=True))


def span(values: Tensor) -> str:
    low, high = values.min().item(), values.max().item()
    return f"{low:g}" if low == high else f"{low:.3g} to {high:.3g}"


def _steadiness(steadiness: Steadiness) -> str:
    wishes = {
        "colours held": steadiness.hold_colours,
        f"overlap {steadiness.overlap}": steadiness.overlap,
        f"fade {steadiness.fade}": steadiness.fade,
        f"anchored every {steadiness.anchor_every:g} s": steadiness.anchor_every,
    }
    return ", ".join(words for words, wished in wishes.items() if wished) or "none"


def labels() -> str:
    return "made by AI, with these nodes" if Wishes.now().write else "none of these nodes, as Settings say"


def _named(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def sized(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
