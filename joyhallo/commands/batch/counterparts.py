"""Which of a ComfyUI server's model files are those of a job on this machine: of the same name and size.

That is all that can be seen from here, and it is looked at before any work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ...faces.find import DETECTOR
from ...sound.wav2vec2 import WEIGHTS
from ..faces import known
from ..jobs import Job
from ..media import picture_of
from ..places import DEMO, DEMO_MODEL
from .comfyui import ComfyUI, RefusedError

OWN = "joyhallo"  # of ComfyUI's folders of models, the one that our nodes look into for all
INNER = "pretrained_models/"  # in it, which our nodes leave out of names
REDUB = (OWN, "wav2lip", "latentsync", "musetalk", "ultralight")
CHECKPOINT, ENCODER, VAE, FACES = (
    (OWN, other) for other in ("diffusion_models", "audio_encoders", "vae", "insightface")
)
VAE_FILES = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")  # in a folder of diffusers
NONE = "none"  # the choice of our loader without InsightFace's models


@dataclass
class Files:
    """The model files of a server, asked for once."""

    server: ComfyUI
    _known: dict[str, Mapping[str, int]] = field(default_factory=dict)  # by folder: bytes by name

    def choices(self, job: Job) -> dict[str, str]:
        """What our nodes that load models choose for a job, by input; a RefusedError says what the server lacks."""
        if job.kind == "redub":
            return {"model": self.name(job.inputs["model"], REDUB)}
        if job.options["model"] is None:
            return {}
        model, vae, encoder = (job.options[name] for name in ("model", "vae", "audio_encoder"))
        return {
            "checkpoint": self.name(model, CHECKPOINT),
            "audio_encoder": self._folder(encoder, ENCODER, WEIGHTS),
            "face_models": self._faces(job),
            "vae": self.name(_first(vae, VAE_FILES), VAE),
        }

    def _faces(self, job: Job) -> str:
        if job.options["identity"] != "neutral":
            return self._folder(job.options["face_models"], FACES, (DETECTOR, f"models/{DETECTOR}"))
        return NONE if known(picture_of(job.inputs["picture"])) is None else DEMO

    def _folder(self, path: Path, folders: tuple[str, ...], files: tuple[str, ...]) -> str:
        """Of files that our nodes know by their folder."""
        found = self.name(_first(path, files), folders)
        return found.rpartition("/")[0].removesuffix("/models") or found

    def name(self, path: Path, folders: tuple[str, ...]) -> str:
        """Of a file, as our nodes list it."""
        if path.is_relative_to(DEMO_MODEL):
            return DEMO
        there = self._in(folders)
        size = path.stat().st_size
        same = [name for name in there if PurePosixPath(name).name == path.name]
        fitting = [name for name in same if there[name] == size]
        if fitting:
            return max(fitting, key=lambda name: _shared(name, path))
        if same:
            raise RefusedError(
                f"{self.server.url} has {same[0]} with {there[same[0]]} bytes, but {path} has {size}; put the same "
                "file there, or leave that server out."
            )
        raise RefusedError(
            f"{self.server.url} has no {path.name}; put it into models/{OWN} there, or leave that server out. Found "
            f"{', '.join(sorted(there)[:8]) or 'nothing'}."
        )

    def _in(self, folders: tuple[str, ...]) -> dict[str, int]:
        found = dict[str, int]()
        for folder in folders:
            if folder not in self._known:
                self._known[folder] = self.server.models(folder)
            for name, size in self._known[folder].items():
                found.setdefault(name.removeprefix(INNER), size)
        return found


def _first(path: Path, files: tuple[str, ...]) -> Path:
    """A file itself, or the first of these that a folder has."""
    return next((path / file for file in files if (path / file).is_file()), path)


def _shared(name: str, path: Path) -> int:
    """How many of the last parts of two paths are the same."""
    pairs = zip(reversed(PurePosixPath(name).parts), reversed(path.parts), strict=False)
    count = 0
    for one, other in pairs:
        if one != other:
            break
        count += 1
    return count
