"""Networks of others that some measures take: which files there are, and where their authors publish them.

Their files are found by what is in them, whatever they are called; nothing is ever fetched unasked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..files.contents import Kind, WeightsError, contents
from . import hyperiqa, inception
from .amt import AMT_FILE
from .kinds import STABLE_SYNCNET, SYNCNET
from .vit import CLIP_SPELLING, DINO_SPELLING

ENDINGS = (".safetensors", ".pth", ".pt", ".model", ".bin", ".ckpt", ".pkl")


@dataclass(frozen=True)
class Judge:
    title: str
    kind: Kind
    file: str  # as it is usually called
    size: str
    page: str  # where its authors publish it
    licence: str

    @property
    def absent(self) -> str:
        """Completes "not there: "."""
        return self.lacking("the folder")

    def lacking(self, place: str) -> str:
        return f"{self.title}: put {self.file} ({self.size}, from {self.page}) into {place}; {self.licence}"


JUDGES = {
    "syncnet": Judge(
        "SyncNet",
        SYNCNET,
        "syncnet_v2.model",
        "54 MB",
        "github.com/joonson/syncnet_python",
        "MIT",
    ),
    "stable_syncnet": Judge(
        "StableSyncNet",
        STABLE_SYNCNET,
        "stable_syncnet.pt",
        "1.6 GB",
        "huggingface.co/ByteDance/LatentSync-1.6",
        "OpenRAIL++",
    ),
    "dino": Judge(
        "DINO ViT-B/16",
        DINO_SPELLING.kind,
        "dino_vitbase16_pretrain.pth",
        "343 MB",
        "github.com/facebookresearch/dino",
        "Apache 2.0",
    ),
    "clip": Judge(
        "CLIP ViT-B/32",
        CLIP_SPELLING.kind,
        "ViT-B-32.pt, or model.safetensors of clip-vit-base-patch32",
        "338 to 605 MB",
        "github.com/openai/CLIP",
        "MIT",
    ),
    "amt": Judge(
        "AMT-S",
        AMT_FILE,
        "amt-s.pth",
        "12 MB",
        "github.com/MCG-NKU/AMT",
        "CC BY-NC 4.0, non-commercial",
    ),
    "inception": Judge(
        "Inception for FID",
        inception.KIND,
        "pt_inception-2015-12-05-6726825d.pth",
        "91 MB",
        "github.com/mseitzer/pytorch-fid",
        "Apache 2.0",
    ),
    "hyperiqa": Judge(
        "HyperIQA",
        hyperiqa.KIND,
        "koniq_pretrained.pkl",
        "110 MB",
        "github.com/SSL92/hyperIQA",
        "MIT",
    ),
}


def judge_of(path: Path) -> str | None:
    """Which judge a file holds; None of others. A WeightsError if it is damaged."""
    known = contents(path).kind([judge.kind for judge in JUDGES.values()])
    return next((name for name, judge in JUDGES.items() if judge.kind is known), None)


def judges_in(places: Iterable[Path]) -> dict[str, Path]:
    """The file of each judge that is there, in folders or named; of several the first."""
    found = dict[str, Path]()
    for path in _files(places):
        try:
            name = judge_of(path)
        except (WeightsError, OSError):
            continue  # of somebody else
        if name is not None:
            found.setdefault(name, path)
    return found


def _files(places: Iterable[Path]) -> Iterator[Path]:
    for place in places:
        if place.is_dir():
            yield from sorted(file for file in place.rglob("*") if file.suffix.lower() in ENDINGS and file.is_file())
        elif place.is_file():
            yield place
        else:
            raise FileNotFoundError(f"{place}, where weights should be, does not exist.")
