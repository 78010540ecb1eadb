"""Model files: the choices of each combo, and `find`, which returns the paths of the chosen files.

Our own folder is `models/joyhallo`, or what a `joyhallo` key in extra_model_paths.yaml names; JoyHallo's own
`pretrained_models` may lie in it, or be it. Names are relative to these folders and written with forward slashes on
every system, so that a workflow works elsewhere; of two files with the same name, the one in the first folder wins.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PureWindowsPath
from typing import TypeVar

import folder_paths

from ..joyhallo.faces.find import DETECTOR, RECOGNISER
from ..joyhallo.files.contents import VAE as VAE_FILE
from ..joyhallo.files.contents import WAV2VEC2, WeightsError, settings
from ..joyhallo.files.contents import Kind as FileKind
from ..joyhallo.files.download import Published, fetch
from ..joyhallo.files.space import amount
from ..joyhallo.measures.judges import ENDINGS as JUDGE_ENDINGS
from ..joyhallo.measures.judges import JUDGES, judge_of
from ..joyhallo.methods import METHODS, Method, kind_of
from ..joyhallo.methods.published import OF_REDUB, PUBLISHED
from ..joyhallo.methods.ultralight.published import PUBLISHED as OF_ULTRALIGHT
from ..joyhallo.sound.vocals import FILE
from ..joyhallo.sound.wav2vec2 import WEIGHTS

log = logging.getLogger(__name__)

T = TypeVar("T")

OWN = "joyhallo"
INNER = {OWN: "pretrained_models", "insightface": "models"}  # subfolders that count as the folder itself
DEMO, NONE = "demo", "none"
LIP_READER = "lip reader"  # our own judge of lip sync
METRICS = "metrics"  # the subfolder for networks that measure
METRICS_PLACE = f"models/{OWN}/{METRICS}"
DEMO_MODEL = Path(__file__).resolve().parents[1] / "demo_model"

FACE_MODEL = "face_analysis"
LANDMARKERS = ("face_landmarker_v2_with_blendshapes.task", "face_landmarker.task")
LANDMARKER = f"{FACE_MODEL}/models/{LANDMARKERS[0]}"
SEPARATOR = f"audio_separator/{FILE}"
AUTOENCODER = "sd-vae-ft-mse/diffusion_pytorch_model.safetensors"

REDUB_FOLDERS = ("wav2lip", "latentsync", "musetalk", "ultralight")  # where such files are kept, by other packs too
LOADABLE = (".safetensors", ".pth", ".pt")

SECONDS = 5  # how long a file's contents are cached: schemas are requested often, and network drives are slow
CHECKPOINTS = tuple(method.checkpoint for method in METHODS if method.task == "portrait")
REDUBBERS = tuple(method.checkpoint for method in METHODS if method.task == "redub")


class Unreadable(FileKind):
    """A file that cannot be read; its words say why."""


@dataclass(frozen=True)
class Files:
    checkpoint: Path
    audio_encoder: Path  # a folder of transformers, or a single file for ComfyUI's own loader
    face_models: Path | None  # the folder of the detector and the recogniser, or the file of faces known beforehand
    face_task: Path | None  # MediaPipe's; None if it is missing
    vae: Path


def register() -> None:
    """Make our folders known to ComfyUI, after those of extra_model_paths.yaml."""
    for name in (OWN, *REDUB_FOLDERS):
        folder_paths.add_model_folder_path(name, os.path.join(folder_paths.models_dir, name))


# ---- the choices of each combo, of which the first is the default


def checkpoints() -> list[str]:
    ours = filter(_may_be_checkpoint, _names(OWN))
    return _choices(CHECKPOINT, [*ours, *_holding(CHECKPOINTS, "diffusion_models")])


def audio_encoders() -> list[str]:
    folders = [name for name in _encoder_folders() if _model_type_in(name) == "wav2vec2"]
    single = [name for name in _holding((WAV2VEC2,), "audio_encoders") if _base(name) not in WEIGHTS]
    return _choices(ENCODER, folders, single)


def face_models() -> list[str]:
    folders = [name.rpartition("/")[0].removesuffix("/models") for name in _names(OWN) if _base(name) == DETECTOR]
    return _choices(FACES, [name for name in (*folders, "antelopev2") if _path(FACES, name)])


def vaes() -> list[str]:
    return _choices(VAE, _holding((VAE_FILE,), OWN), _names("vae"))


def lip_judges() -> list[str]:
    return [LIP_READER, *judges("syncnet")]


def judges(judge: str) -> list[str]:
    """Files of a network that measures: those in our folder `metrics` first."""
    names = [name for name in _names(OWN) if name.lower().endswith(JUDGE_ENDINGS) and _judge(name) == judge]
    return sorted(names, key=lambda name: (not name.startswith(f"{METRICS}/"), name))


def redub_models() -> list[str]:
    found = [name for folder in REDUB.folders for name in _names(folder) if _redubs(name, folder)]
    return _choices(REDUB, found)


# ---- paths of the chosen files


def find(checkpoint: str, audio_encoder: str, face_models: str, vae: str, download: bool = False) -> Files:
    """The paths of all chosen files, or one FileNotFoundError that lists everything missing.

    With `download`, published files that are missing are fetched first; see `joyhallo.files.download.fetch`.
    """
    chosen = choices(checkpoint, audio_encoder, face_models, vae)
    missing = absent(chosen)
    if download and all(name in kind.published for kind, name in missing.items()):
        if files := wanted(chosen):
            fetch(files, _progress())
        missing = absent(chosen)
    if missing:
        raise FileNotFoundError(_complaint(missing))
    paths = {kind: path for kind, name in chosen.items() if (path := _path(kind, name)) is not None}
    return Files(paths[CHECKPOINT], paths[ENCODER], paths.get(FACES), face_task(), paths[VAE])


def find_to_redub(name: str, download: bool = False, given: Collection[str] = ()) -> tuple[Path, dict[str, Path]]:
    """The path of a redub model, and those of the other files that its method works with, by their words in METHODS.

    A FileNotFoundError lists what is missing; with `download` published files are fetched first. given: parts that
    are there already.
    """
    chosen = _to_redub(name, given)
    if download and _lacked(chosen) and (files := wanted_to_redub(name, given)):
        fetch(files, _progress())
        chosen = _to_redub(name, given)
    if missing := _lacked(chosen):
        raise FileNotFoundError(_complaint(missing, demo=False))
    paths = {kind: path for kind, one in chosen.items() if (path := _path(kind, one)) is not None}
    return paths[REDUB], {word: paths[kind] for word, kind in PARTS.items() if kind in paths}


def _lacked(chosen: Mapping[Kind, str]) -> dict[Kind, str]:
    return {kind: one for kind, one in chosen.items() if _path(kind, one) is None and kind not in OPTIONAL}


def wanted_to_redub(name: str, given: Collection[str] = ()) -> dict[Path, Published]:
    files: dict[Path, Published] = {}
    for kind, one in _to_redub(name, given).items():
        if one in kind.published and _path(kind, one) is None:
            files |= _lacking(kind, one)
    return files


def _to_redub(name: str, given: Collection[str]) -> dict[Kind, str]:
    """The names of a redub model and of its parts: of files that are there, or of those that can be fetched."""
    method = _redub_method(name)
    words = [word for word in (method.parts if method else ()) if word not in given]
    return {REDUB: name} | {PARTS[word]: _part(PARTS[word]) for word in words}


def _redub_method(name: str) -> Method | None:
    path = _path(REDUB, name)
    kind = _told(kind_of, path) if path else None
    told = OF_REDUB.get(name) if path is None else None
    return next((method for method in METHODS if method.name == told or method.checkpoint is kind), None)


def _part(kind: Kind) -> str:
    """The name of the published file if it is there, or of one that is the same, or of the one to be fetched."""
    others = (name for folder in kind.folders for name in _names(folder) if re.search(kind.same, name))
    return next((name for name in (*kind.published, *others) if _path(kind, name)), next(iter(kind.published), ""))


def find_judge(name: str, judge: str) -> Path:
    """The path of a chosen file of a network that measures, or a FileNotFoundError that says what to do."""
    path = _path(JUDGE, name)
    if path is None:
        raise FileNotFoundError(
            f"`judge` is {name!r:.200}, which is in none of the folders. {JUDGES[judge].lacking(METRICS_PLACE)}. Or "
            f"choose {LIP_READER}, which comes with the nodes. Searched in: {', '.join(map(str, JUDGE.places))}."
        )
    return path


def choices(checkpoint: str, audio_encoder: str, face_models: str, vae: str) -> dict[Kind, str]:
    return {CHECKPOINT: checkpoint, ENCODER: audio_encoder, FACES: face_models, VAE: vae}


def absent(chosen: Mapping[Kind, str]) -> dict[Kind, str]:
    """Those of which files are missing, except those that none is wanted of."""
    return {kind: name for kind, name in chosen.items() if _path(kind, name) is None and (kind, name) != (FACES, NONE)}


def wanted(chosen: Mapping[Kind, str]) -> dict[Path, Published]:
    """The published files that the choices lack, and optional ones that help, by the paths they should have."""
    files: dict[Path, Published] = {}
    for kind, name in chosen.items():
        if name in kind.published:
            files |= _lacking(kind, name)
    if chosen[FACES] != DEMO and face_task() is None:
        files |= _lacking(FACES, LANDMARKER)
    if chosen[ENCODER] != DEMO and separator() is None:
        files |= _lacking(ENCODER, SEPARATOR)
    return files


def wanted_to_find_faces() -> dict[Path, Published]:
    """The face landmarker, unless it is there."""
    return {} if face_task() else _lacking(FACES, LANDMARKER)


def separator() -> Path | None:
    """The network that separates voice from music, in whichever folder it is."""
    return _anywhere((FILE,), OWN)


def face_task() -> Path | None:
    """MediaPipe's face landmarker, in whichever folder it is."""
    return _anywhere(LANDMARKERS, OWN, "detection")


def known_faces() -> Path | None:
    """The file of faces in the pictures that come with the nodes."""
    return _path(FACES, DEMO)


# ---- kinds of models


@dataclass(frozen=True)
class Kind:
    word: str
    folders: tuple[str, ...]  # ComfyUI's names for them
    published: tuple[str, ...]
    fits: Callable[[Path], Path | None]  # the path to load if it is such a model, else None
    demo: str = ""  # in the pack's folder
    same: str = "(?!)"  # names of files in ComfyUI's own folders that are equivalent to the published ones

    @property
    def places(self) -> list[Path]:
        return [place for folder in self.folders for place in _folders(folder)]


def _file(path: Path) -> Path | None:
    return path if os.path.isfile(path) else None


def _encoder(path: Path) -> Path | None:
    if path.suffix == ".safetensors":
        return _file(path)
    return path if _file(path / "config.json") and any(_file(path / name) for name in WEIGHTS) else None


def _faces(path: Path) -> Path | None:
    if path.parent == DEMO_MODEL:
        return _file(path)
    for folder in (path, path / "models"):
        if all(_file(folder / name) for name in (DETECTOR, RECOGNISER)):
            return folder
    return None


CHECKPOINT = Kind(
    "checkpoint", (OWN, "diffusion_models"), ("joyhallo/net.pth", "hallo/net.pth"), _file, "net.safetensors"
)
ENCODER = Kind(
    "audio encoder",
    (OWN, "audio_encoders"),
    ("chinese-wav2vec2-base", "wav2vec/wav2vec2-base-960h"),
    _encoder,
    "wav2vec2",
    "chinese-wav2vec2-base",
)
FACES = Kind("face models", (OWN, "insightface"), (FACE_MODEL,), _faces, "faces.safetensors")
REDUB = Kind("redub model", (OWN, *REDUB_FOLDERS), tuple(OF_REDUB), _file)
VAE = Kind("VAE", (OWN, "vae"), (AUTOENCODER,), _file, "vae.safetensors", "ft-mse")
JUDGE = Kind("network that measures", (OWN,), (), _file)
WHISPER = Kind(
    "speech encoder",
    (OWN, "latentsync", "musetalk", "audio_encoders"),
    ("whisper-tiny/model.safetensors",),
    _file,
    same=r"(?i)(^|/)whisper[-_/]?tiny[^/]*(/model)?\.(safetensors|pt)$|(^|/)whisper/(tiny\.pt|model\.safetensors)$",
)
HUBERT = Kind(
    "speech encoder",
    (OWN, "ultralight", "audio_encoders"),
    tuple(OF_ULTRALIGHT),
    _file,
    same=r"(?i)(^|/)hubert-large-ls960-ft/(pytorch_model\.bin|model\.safetensors)$",
)
PARSER = Kind(
    "face parser",
    (OWN, "musetalk"),
    ("face-parse-bisent/79999_iter.pth",),
    _file,
    same=r"(^|/)79999_iter\.(pth|safetensors)$",
)
PARTS = {"vae": VAE, "whisper": WHISPER, "hubert": HUBERT, "parser": PARSER}  # by the words in METHODS
OPTIONAL = (PARSER,)


def _choices(kind: Kind, ours: Iterable[str], others: Iterable[str] = ()) -> list[str]:
    """Choices in order: matching files, downloadable files, then files in ComfyUI's folders that may match."""
    there = [name for name in kind.published if _path(kind, name)]
    same = [name for name in others if re.search(kind.same, name)]
    last = [NONE] * (kind is FACES) + [DEMO] * (_path(kind, DEMO) is not None)
    listed = [*there, *sorted(ours), *same, *kind.published, *sorted(others), *last]
    return list(dict.fromkeys(listed))


# ---- folders


def _folders(name: str) -> list[Path]:
    known = name in folder_paths.folder_names_and_paths
    paths = folder_paths.get_folder_paths(name) if known else [os.path.join(folder_paths.models_dir, name)]
    inner = INNER.get(name)
    return [place for path in paths for place in ((Path(path), Path(path, inner)) if inner else (Path(path),))]


def _names(folder: str) -> list[str]:
    """All files in one of ComfyUI's folders; ComfyUI caches the list until the folder changes."""
    try:
        listed = folder_paths.get_filename_list(folder)
    except FileNotFoundError:  # a folder of the cached list is gone
        folder_paths.filename_list_cache.pop(folder, None)
        listed = folder_paths.get_filename_list(folder)
    names = (name.replace("\\", "/").removeprefix(f"{INNER.get(folder)}/") for name in listed)
    return [name for name in names if not name.startswith(".") and "/." not in name]


def _path(kind: Kind, chosen: str) -> Path | None:
    """The path of a choice; None for a name that leads out of the folders."""
    if chosen == DEMO and kind.demo:
        return kind.fits(DEMO_MODEL / kind.demo)
    name = str(chosen).replace("\\", "/")
    parts = PureWindowsPath(name)  # the strictest of all systems: it drops dots and spaces at the end of names
    if parts.anchor or not all(part.strip(". ") for part in parts.parts or [""]):
        return None
    return next(filter(None, (kind.fits(place / name) for place in kind.places)), None)


def _anywhere(bases: tuple[str, ...], *folders: str) -> Path | None:
    names = [*bases, *(name for name in _names(OWN) if _base(name) in bases)]
    paths = (place / name for folder in folders for name in names for place in _folders(folder))
    return next(filter(os.path.isfile, paths), None)


def _base(name: str) -> str:
    return name.rpartition("/")[2]


# ---- recognising files by the names in them


def _holding(kinds: tuple[FileKind, ...], folder: str) -> list[str]:
    return _holding_at(kinds, folder, tuple(_names(folder)), time.monotonic() // SECONDS)


@lru_cache(maxsize=16)
def _holding_at(kinds: tuple[FileKind, ...], folder: str, names: tuple[str, ...], moment: float) -> list[str]:
    return [name for name in names if name.endswith(".safetensors") and _kind(name, folder) in kinds]


def _may_be_checkpoint(name: str) -> bool:
    """True for damaged files, too: choosing one then gives an error that says what is wrong with it."""
    if not name.endswith((".safetensors", ".pth")):
        return False
    kind = _kind(name, OWN)
    damaged = isinstance(kind, Unreadable) and _first(name, OWN) is not None
    return kind in CHECKPOINTS or (damaged and _base(name) not in (*WEIGHTS, _base(AUTOENCODER)))


def _redubs(name: str, folder: str) -> bool:
    """True for damaged files in folders that hold nothing else, too: choosing one says what is wrong with it."""
    if not name.endswith(LOADABLE):
        return False
    kind = _kind(name, folder)
    return kind in REDUBBERS or (folder != OWN and isinstance(kind, Unreadable) and _first(name, folder) is not None)


def _judge(name: str) -> str | None:
    """Which network that measures a file holds."""
    path = _first(name, OWN)
    found = _told(judge_of, path) if path else None
    return found if isinstance(found, str) else None


def _encoder_folders() -> list[str]:
    names = (name for folder in ENCODER.folders for name in _names(folder) if _base(name) in WEIGHTS)
    return [name.rpartition("/")[0] for name in names]


def _model_type_in(folder: str) -> str | Unreadable | None:
    path = _path(ENCODER, folder)
    return path and _told(_model_type, path / "config.json")


def _kind(name: str, folder: str) -> FileKind | None:
    path = _first(name, folder)
    return _told(kind_of, path) if path else Unreadable(f"{name} is not a file, or a link that leads to none.", ())


def _first(name: str, folder: str) -> Path | None:
    return next(filter(os.path.isfile, (place / name for place in _folders(folder))), None)


def _told(tell: Callable[[Path], T], path: Path) -> T | Unreadable:
    """What `tell` finds out about a file, until that changes."""
    try:
        stat = os.stat(path)
    except OSError as error:
        return Unreadable(f"{path.name} cannot be read ({error.strerror}).", ())
    return _told_at(tell, path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4096)
def _told_at(tell: Callable[[Path], T], path: Path, changed: int, size: int) -> T | Unreadable:
    try:
        return tell(path)
    except WeightsError as error:
        log.warning("%s", error)
        return Unreadable(str(error), ())


def _model_type(path: Path) -> str:
    return str((settings(path) or {}).get("model_type"))


def unreadable() -> list[str]:
    """A sentence for each file that was looked into for the lists, and could not be read."""
    found: list[FileKind | str | None] = [
        _kind(name, OWN) for name in _names(OWN) if name.endswith((".safetensors", ".pth"))
    ]
    for folder in ("diffusion_models", "audio_encoders"):
        found += [_kind(name, folder) for name in _names(folder) if name.endswith(".safetensors")]
    found += map(_model_type_in, _encoder_folders())
    return [kind.words for kind in found if isinstance(kind, Unreadable)]


def unreadable_to_redub() -> list[str]:
    """The same for the list of redub models, which looks into other folders."""
    found = (_kind(name, folder) for folder in REDUB.folders for name in _names(folder) if name.endswith(LOADABLE))
    return list(dict.fromkeys(kind.words for kind in found if isinstance(kind, Unreadable)))


# ---- missing files


def _lacking(kind: Kind, name: str) -> dict[Path, Published]:
    """Missing published files by the paths they should have, beside existing files of the same folder."""
    whole = next((place for place in kind.places if kind.fits(place / name)), None)
    begun = (place for place in _folders(OWN) if os.path.isdir(place / name.partition("/")[0]))
    home = whole or next(begun, _download_folder())
    return {
        home / file.place: file
        for file in PUBLISHED[name]
        if not (whole and file.needed) and not any(_file(home / place) for place in (file.place, *file.alike))
    }


def _download_folder() -> Path:
    """The first of our folders that can be written to."""
    folders = [Path(path) for path in folder_paths.get_folder_paths(OWN)]
    return next((folder for folder in folders if _writable(folder)), folders[0])


def _writable(folder: Path) -> bool:
    there = next((place for place in (folder, *folder.parents) if place.is_dir()), None)
    return there is not None and os.access(there, os.W_OK)


def _progress() -> Callable[[int, int], None]:
    """ComfyUI's progress bar, in thousandths; cancelling takes effect with the next piece received."""
    from comfy.model_management import throw_exception_if_processing_interrupted
    from comfy.utils import ProgressBar

    bar, shown = ProgressBar(1000), -1

    def report(done: int, total: int) -> None:
        nonlocal shown
        throw_exception_if_processing_interrupted()
        now = 1000 * done // max(total, 1)
        if now // 100 != shown // 100:
            log.info("%s of %s downloaded", amount(done), amount(total))
        if now != shown:
            shown = now
            bar.update_absolute(now, 1000)

    return report


def _complaint(missing: dict[Kind, str], demo: bool = True) -> str:
    """demo: whether the small model would do"""
    lines = [f"{len(missing)} of the chosen models {'is' if len(missing) == 1 else 'are'} missing:"]
    lines += [f"- {kind.word} {_source(kind, name)}" for kind, name in missing.items()]
    if missing.get(FACES) in FACES.published and face_task() is None:
        lines.append(f"- and with these, to find the outline of face and lips, {_source(FACES, LANDMARKER)}")
    lines.append("Searched in:")
    looked = {place: None for kind in missing for place in kind.places}
    lines += [f"- {place}" for place in looked]
    homes = {
        path.parents[file.place.count("/")]: None
        for kind, name in missing.items()
        if name in kind.published
        for path, file in _lacking(kind, name).items()
    }
    if homes:
        lines.append(f"Switch on `download` to fetch those with an address into {', '.join(map(str, homes))}.")
    such = f", such as {DEMO}" if demo and _path(CHECKPOINT, DEMO) else ""
    lines.append(f"You can also put them there by hand, under these names, or choose models that you have{such}.")
    return "\n".join(lines)


def _source(kind: Kind, name: str) -> str:
    if name == DEMO and kind.demo:
        return f"{DEMO}: this pack's folder {DEMO_MODEL} lacks {kind.demo}; install the pack again"
    if name not in (*kind.published, LANDMARKER):
        return f"{name!r:.200}, which is in none of the folders"
    files = _lacking(kind, name).values()
    needed = [file for file in files if file.needed]
    size = sum(file.size or 0 for file in needed)
    notes = [f"; {note}" for note in dict.fromkeys(file.licence for file in needed) if note]
    about = f" (about {amount(size)})" if size else ""
    return f"{', '.join(file.place for file in needed)}{about}, from {needed[0].page}{''.join(notes)}"
