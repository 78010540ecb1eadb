"""Conversion of datasets to and from the original's layout, with its two meta files.

    python -m joyhallo.data.interchange export DATASET -o FOLDER --name NAME
    python -m joyhallo.data.interchange import NAME_stage2.json -o DATASET

Stage 1 of the original learns from single pictures in folders, stage 2 from videos, masks and speech features.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .. import work
from ..config import FPS
from ..faces.regions import Mask, resized
from ..files.digests import sha256
from ..film.read import Film
from ..libraries import brief
from ..methods.hallo.config import NetConfig
from ..methods.hallo.masks import BASE, SoftMasks
from ..sound.audio import load, prepare
from ..streams import escape_what_is_lacking
from .dataset import (
    CLIPS,
    MASKS,
    NAMES,
    SAMPLES,
    SPLITS,
    Clip,
    DatasetError,
    Record,
    open_dataset,
    read_frames,
    read_record,
    replacing,
    split_of,
    write_facts,
    write_film,
    write_manifest,
    write_masks,
    write_record,
    write_sound,
    write_tensors,
    write_text,
)
from .prepare import concluded, identify
from .steps import AT_ONCE, Step, Told, Unfit, carry_out, digest, recorded

VERSION = 2
STAGE_1, STAGE_2 = "{}_stage1.json", "{}_stage2.json"
FOLDERS = {  # of the original, by our names; a file in each is named after its clip
    "video": "videos/{}.mp4",
    "sound": "audios/{}.wav",
    "face_mask": "face_mask/{}.png",
    "pose_mask": "sep_pose_mask/{}.png",
    "expression_mask": "sep_face_mask/{}.png",
    "lip_mask": "sep_lip_mask/{}.png",
    "identity": "face_emb/{}.pt",
    "speech": "audio_emb/{}.pt",
}
PICTURES = "images/{}"
KEYS = {  # of stage 2's meta file, by our names
    "video": "video_path",
    "face_mask": "mask_path",
    "pose_mask": "sep_mask_border",
    "expression_mask": "sep_mask_face",
    "lip_mask": "sep_mask_lip",
    "identity": "face_emb_path",
    "sound": "audio_path",
    "speech": "vocals_emb_base_all",
}


# ---- out


def export(dataset: Path, folder: Path, name: str, *, images: bool = True) -> tuple[Path, Path]:
    """Write the meta files of both stages; without images that of stage 1 is empty, as it needs frames as files."""
    clips = [clip for split in SPLITS for clip in open_dataset(dataset, split).clips]
    if not clips:
        raise DatasetError(f"{dataset} has no clip with speech features that could be exported; prepare it first.")
    folder = folder.absolute()
    first, second = list[Mapping[str, str]](), list[Mapping[str, str]]()
    for clip in clips:
        places = {ours: folder / place.format(clip.id) for ours, place in FOLDERS.items()}
        _export_files(clip, places)
        second.append({key: str(places[ours]) for ours, key in KEYS.items()})
        if images:
            pictures = folder / PICTURES.format(clip.id)
            _export_pictures(clip, pictures)
            mask, identity = str(places["face_mask"]), str(places["identity"])
            first.append({"image_path": str(pictures), "mask_path": mask, "face_emb": identity})
    written = folder / STAGE_1.format(name), folder / STAGE_2.format(name)
    for path, entries in zip(written, (first, second), strict=True):
        write_text(path, json.dumps(entries, indent=1, ensure_ascii=False) + "\n")
    return written


def _export_files(clip: Clip, places: Mapping[str, Path]) -> None:
    for name in ("video", "sound", *MASKS):
        with replacing(places[name]) as temporary:
            shutil.copyfile(clip.path(name), temporary)
    with replacing(places["identity"]) as temporary:
        torch.save(clip.identity.numpy(), temporary)
    with replacing(places["speech"]) as temporary:
        torch.save(clip.speech.clone(), temporary)


def _export_pictures(clip: Clip, folder: Path) -> None:
    """Name frames by six digits: with the original's four, the 10000th frame would be sorted before the second."""
    folder.mkdir(parents=True, exist_ok=True)
    for at in range(0, clip.length, AT_ONCE):
        some = range(at, min(at + AT_ONCE, clip.length))
        for index, picture in zip(some, read_frames(clip.path("video"), some), strict=True):
            with replacing(folder / f"{index + 1:06d}.png") as temporary:
                Image.fromarray(picture).save(temporary)


# ---- in


@dataclass(frozen=True)
class Job:
    root: Path
    id: str
    entry: Mapping[str, str]  # paths by the keys of the meta file
    size: int
    validation: float


def read_meta(path: Path) -> list[dict[str, str]]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        assert all(isinstance(entry, dict) for entry in entries)
    except (OSError, ValueError, TypeError, AssertionError) as error:
        raise DatasetError(
            f"{path} is not a meta file ({brief(error)}); expected a list of clips as extract_meta_info writes it."
        ) from error
    return entries


def bring_in(
    metas: Sequence[Path], root: Path, *, size: int = 512, validation: float = 0.05, workers: int = 0
) -> list[Record]:
    """Make a dataset of the clips of meta files. Pictures are stretched to squares, as in the original's training."""
    every = [entry for meta in metas for entry in read_meta(meta)]
    entries = {_name(entry): entry for entry in sorted(every, key=len)}  # those of stage 2 say more
    jobs = [
        Job(root.absolute(), identify(f"{name}.mp4"), entry, size, validation)
        for name, entry in sorted(entries.items())
    ]
    write_facts(root, made_by="joyhallo.data.interchange", settings={"size": size}, models={})
    records = list(work.each(bring_in_clip, jobs, workers, _lost))
    write_manifest(root, records)
    return sorted(records, key=lambda record: record.id)


def _name(entry: Mapping[str, str]) -> str:
    return Path(entry.get(KEYS["video"]) or entry.get("image_path") or "").stem


def bring_in_clip(job: Job) -> Record:
    return recorded(job.root, lambda: _brought_in(job), partial(_failed, job))


def _brought_in(job: Job) -> Record:
    if absent := [key for name, key in KEYS.items() if name != "sound" and key not in job.entry]:
        reason = f"its entry lacks {', '.join(absent)}; use the meta file of stage 2"
        return replace(_begun(job), status="skipped", reason=reason)
    paths = {name: Path(job.entry[key]) for name, key in KEYS.items() if key in job.entry}
    if gone := [str(path) for name, path in paths.items() if name != "sound" and not path.is_file()]:
        return replace(_begun(job), status="skipped", reason=f"missing: {', '.join(gone)}")
    files = {name: sha256(path) for name, path in paths.items() if path.is_file()}
    return carry_out(
        job.root, _begun(job), STEPS, {"imported": digest(VERSION, job.size, files)}, _UnderWay(job, paths)
    )


def _begun(job: Job) -> Record:
    name = _name(job.entry)
    split = split_of(name, job.validation)
    return Record(job.id, name, "failed", "it was stopped", split, name, size=job.size)


def _failed(job: Job, reason: str) -> Record:
    return replace(read_record(job.root, job.id) or _begun(job), status="failed", reason=reason)


def _lost(job: Job, reason: str) -> Record:
    write_record(job.root, record := _failed(job, reason))
    return record


@dataclass(frozen=True)
class _UnderWay:
    job: Job
    paths: Mapping[str, Path]

    def path(self, name: str) -> Path:
        return self.job.root / CLIPS / self.job.id / NAMES[name]


def _import(clip: _UnderWay, _: Record) -> Told:
    identity, speech = (unpickled(clip.paths[name]) for name in ("identity", "speech"))
    if identity is None or identity.numel() != NetConfig.face_dim:
        raise Unfit("its face was not recognised")
    if speech is None or speech.ndim != 3:
        raise Unfit("it has no speech features of the shape (frames, layers, width)")
    length = write_film(clip.path("video"), _batches(clip.paths["video"], len(speech), clip.job.size))
    write_sound(clip.path("sound"), _sound(clip.paths, length))
    face, *regions = (_mask(clip.paths[name]) for name in MASKS)
    side = (clip.job.size, clip.job.size)
    write_masks(clip.path("video").parent, resized(face, side), SoftMasks(*(_at_base(mask) for mask in regions)))
    write_tensors(clip.path("identity"), identity=identity.float().flatten())
    write_tensors(clip.path("speech"), features=speech[:length].float())
    return {"length": length}


def unpickled(path: Path) -> Tensor | None:
    """Load a tensor or a numpy array that torch saved; the pickle may do nothing else."""
    rebuild = np._core.multiarray._reconstruct if hasattr(np, "_core") else np.core.multiarray._reconstruct  # pyright: ignore
    names = [(rebuild, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")]
    kinds = [type(np.dtype(kind)) for kind in (np.float16, np.float32, np.float64)]
    with torch.serialization.safe_globals([*names, np.ndarray, np.dtype, *kinds]):
        found = torch.load(path, map_location="cpu", weights_only=True)
    return None if found is None else torch.as_tensor(found)


def _batches(video: Path, most: int, size: int) -> Iterator[Tensor]:
    pictures = islice(Film(video, threads=1).pictures(FPS), most)
    seen = (torch.from_numpy(resized(picture, (size, size))) for picture in pictures)
    while batch := list(islice(seen, AT_ONCE)):
        yield torch.stack(batch).permute(0, 3, 1, 2).float().div(255)


def _sound(paths: Mapping[str, Path], length: int) -> Tensor:
    """The sound of the recording, else of the video, else silence: training uses only the features."""
    samples = torch.zeros(0)
    if "sound" in paths and paths["sound"].is_file():
        samples = load(paths["sound"]).samples
    elif (sound := Film(paths["video"], threads=1).sound()) is not None:
        samples = prepare(*sound).samples
    wanted = length * SAMPLES
    return torch.nn.functional.pad(samples[:wanted], (0, max(0, wanted - len(samples))))


def _mask(path: Path) -> Mask:
    return np.array(Image.open(path).convert("L"))


def _at_base(mask: Mask) -> Mask:
    return mask if mask.shape == (BASE, BASE) else resized(mask, (BASE, BASE))


STEPS = (Step("imported", ("video", *MASKS, "sound", "identity", "speech"), _import),)


# ---- the command


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    try:
        if chosen.way == "export":
            for path in export(chosen.dataset, chosen.output, chosen.name, images=not chosen.without_images):
                print(path)
            return 0
        records = bring_in(
            chosen.metas, chosen.output, size=chosen.size, validation=chosen.validation, workers=chosen.workers
        )
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    return concluded(records, chosen.output)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m joyhallo.data.interchange",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    ways = parser.add_subparsers(dest="way", required=True)
    out = ways.add_parser("export", help="write a dataset in the original's layout")
    out.add_argument("dataset", type=Path)
    out.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    out.add_argument("--name", default="joyhallo", help="of the meta files (default: %(default)s)")
    out.add_argument("--without-images", action="store_true", help="of each frame, which only stage 1 needs")
    back = ways.add_parser("import", help="make a dataset of what the original has prepared")
    back.add_argument("metas", type=Path, nargs="+", metavar="META", help="NAME_stage2.json")
    back.add_argument("-o", "--output", type=Path, required=True, metavar="DATASET")
    back.add_argument("--size", type=int, default=512, help="pixels of each side (default: %(default)s)")
    back.add_argument("--validation", type=float, default=0.05, help="share of clips held out (default: %(default)s)")
    back.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: %(default)s)")
    return parser


if __name__ == "__main__":
    escape_what_is_lacking()
    sys.exit(main())
