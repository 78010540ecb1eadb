"""The models folder outside ComfyUI: which of the published files are there, and fetching those that are missing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..files.download import Published, fetch
from ..files.space import amount
from ..methods import METHODS, Method, Task, method_of
from ..methods.hallo.published import ENCODERS
from ..methods.published import OF_PORTRAIT, OF_REDUB, PUBLISHED
from .jobs import Progress
from .places import DEMO, DEMO_MODEL, models_folder

LANDMARKER = "face_analysis/models/face_landmarker_v2_with_blendshapes.task"
FACES = "face_analysis"
SEPARATOR = "audio_separator/Kim_Vocal_2.onnx"
PARTS = {  # by the words in METHODS
    "vae": "sd-vae-ft-mse/diffusion_pytorch_model.safetensors",
    "whisper": "whisper-tiny/model.safetensors",
    "hubert": "hubert-large-ls960-ft/pytorch_model.bin",
    "parser": "face-parse-bisent/79999_iter.pth",
}
NAMED: Mapping[Task, Mapping[str, str]] = {"portrait": OF_PORTRAIT, "redub": OF_REDUB}
OWN_MODEL, OWN_PARTS = "net.safetensors", {"vae": "vae.safetensors", "audio_encoder": "wav2vec2"}  # of a small one
OTHER_NAMES = {
    LANDMARKER: (os.path.basename(LANDMARKER), "face_landmarker.task")
}  # under which a file may lie in the folder itself


class MissingError(ValueError):
    """A file that the work needs is not there; the message says which, and how to get it."""


@dataclass(frozen=True)
class Shelf:
    folder: Path

    @classmethod
    def of(cls, asked: Path | None) -> Shelf:
        return cls(models_folder(asked))

    # ---- what is there

    def path(self, name: str) -> Path | None:
        """Of what is published under this name: a file, or the folder of several."""
        files = [file for file in PUBLISHED[name] if file.needed] or list(PUBLISHED[name])
        for place in self._places():
            found = [_first(place, file) for file in files]
            if all(found):
                return found[0] if len(files) == 1 else place / name
        alone = (place / other for place in self._places() for other in OTHER_NAMES.get(name, ()))
        return next((path for path in alone if path.is_file()), None)

    def missing(self, name: str) -> dict[Path, Published]:
        """The files of this name that are not there, by the paths that they get."""
        if self.path(name) is not None:
            return {}
        return {self.folder / file.place: file for file in PUBLISHED[name] if _first(self.folder, file) is None}

    def _places(self) -> tuple[Path, ...]:
        return self.folder, self.folder / "pretrained_models"

    # ---- what a job needs

    def landmarker(self) -> Path | None:
        return self.path(LANDMARKER)

    def model(self, given: Path, task: Task = "redub") -> Path:
        """A path as it is, or the file that is published under that name."""
        if given.is_file():
            return given
        name, named = given.as_posix(), NAMED[task]
        if task == "portrait" and name == DEMO:
            return DEMO_MODEL / OWN_MODEL
        if name in named and (path := self.path(name)) is not None:
            return path
        inside = next((place / given for place in self._places() if (place / given).is_file()), None)
        if inside is not None:
            return inside
        if name in named:
            raise MissingError(f"This takes {self.lacking(name)}, or give the path of a file that you have.")
        raise MissingError(
            f"{given} is not a file, neither as it stands nor in {self.folder}; give the path of a {task} model, or "
            f"one of these names: {', '.join((*named, *((DEMO,) if task == 'portrait' else ())))}."
        )

    def parts(self, method: Method, given: Mapping[str, Path | None]) -> dict[str, Path]:
        """The other networks that a method works with, by their words. given: those that the user has named"""
        found = dict[str, Path]()
        for word in method.parts:
            path = given.get(word) or self.path(PARTS[word])
            if path is not None:
                found[word] = path
            elif any(file.needed for file in PUBLISHED[PARTS[word]]):
                raise MissingError(f"{method.name} needs {self.lacking(PARTS[word])}, or give --{word} FILE.")
        return found

    def lacking(self, name: str) -> str:
        """A part of a sentence: what is missing, and the command that fetches it."""
        return f"{described(name)}, which is not in {self.folder}: fetch it with --fetch"

    # ---- fetching

    def fetch(self, names: Iterable[str], progress: Progress) -> list[Path]:
        """What is missing of these; a DownloadError says why it could not be had."""
        files = {path: file for name in names for path, file in self.missing(name).items()}
        if files:
            fetch(files, lambda done, total: progress("Fetching", done // 1_000_000, total // 1_000_000))
        return list(files)

    def wanted(self, model: Path, given: Mapping[str, Path | None]) -> list[str]:
        """The names of all that a redub model and its method need, itself among them if it is published."""
        name = model.as_posix()
        method = method_of(model, "redub") if model.is_file() else method_named(OF_REDUB.get(name))
        own = [name] if not model.is_file() and name in OF_REDUB else []
        return own + [PARTS[word] for word in (method.parts if method else ()) if not given.get(word)]


def method_named(name: str | None) -> Method | None:
    return next((method for method in METHODS if method.name == name), None)


def parts_of(method: Method) -> dict[str, str]:
    """The published names of what a method works with, by the options that name other files."""
    if method.task == "portrait":
        return {"vae": PARTS["vae"], "audio_encoder": ENCODERS[method.name]}
    return {word: PARTS[word] for word in method.parts}


def own_parts(model: Path) -> dict[str, Path]:
    """What lies beside a small model that has a VAE and a speech encoder of its own, as demo does."""
    found = {word: model.parent / name for word, name in OWN_PARTS.items()}
    return found if all(path.exists() for path in found.values()) else {}


def described(name: str) -> str:
    """What is published under a name, with its size and where it comes from."""
    files = [file for file in PUBLISHED[name] if file.needed] or list(PUBLISHED[name])
    size = sum(file.size or 0 for file in files)
    return f"{name} ({amount(size)}, from {files[0].page}{f'; {files[0].licence}' if files[0].licence else ''})"


def _first(place: Path, file: Published) -> Path | None:
    paths = (place / one for one in (file.place, *file.alike))
    return next((path for path in paths if os.path.isfile(path)), None)
