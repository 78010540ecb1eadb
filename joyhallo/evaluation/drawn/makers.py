"""A talk -> the film that a model makes of it: with the engine alone, or through ComfyUI's nodes as people use them."""

from __future__ import annotations

import importlib
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...config import SAMPLE_RATE
from ...data.dataset import SAMPLES
from ...diffusion.schedule import Schedule
from ...film import read
from ...libraries import library
from ...methods.hallo.checkpoint import Model, load_checkpoint, load_codec
from ...methods.hallo.portrait import Framing, Wishes, prepare
from ...methods.hallo.presets import PRESETS
from ...methods.hallo.sampling import Chunk, Codec, Portrait, Settings, Windows, animate
from ...sound.audio import Recording
from ...sound.wav2vec2 import encode, load_encoder
from ..figures import Film
from .talks import Talk

NET, VAE, ENCODER = "net.safetensors", "vae.safetensors", "wav2vec2"
REGIONS = ("pose", "expression", "lip")
NAME = "evaluated"  # of the model among ComfyUI's
PATIENCE = 1800  # seconds for a film


class EvaluationError(RuntimeError):
    """Why nothing can be measured, in words for whoever wanted it."""


@dataclass(frozen=True)
class How:
    """A model is used."""

    size: int = 128
    preset: str = "exact"
    steps: int = 2  # 0: the preset's
    guidance: float = 1.0
    usual: tuple[float, float, float] = (1.0, 1.0, 1.5)  # weights of pose, expression and lip that count as 1

    def settings(self, weights: Sequence[float], seed: int) -> Settings:
        weights = self.weights(weights)
        return PRESETS[self.preset].settings(self.steps, guidance=self.guidance, seed=seed, weights=weights)

    def weights(self, shares: Sequence[float]) -> tuple[float, ...]:
        return tuple(usual * share for usual, share in zip(self.usual, shares, strict=True))


class Maker(Protocol):
    def make(self, talk: Talk, samples: Tensor, weights: Sequence[float], seed: int) -> Film:
        """weights: of pose, expression and lip, in usual ones; as many frames as the samples last"""
        ...


# ---- the engine alone


@dataclass(frozen=True)
class Engine:
    model: Model
    codec: Codec
    hear: Callable[[Tensor], Windows]  # samples at SAMPLE_RATE
    how: How
    whose: Callable[[Talk], Tensor] | None = None  # the identity; nobody's, as where no recogniser is at hand

    def make(self, talk: Talk, samples: Tensor, weights: Sequence[float], seed: int) -> Film:
        return self.film(talk, samples, self.how.settings(weights, seed))

    def film(self, talk: Talk, samples: Tensor, settings: Settings, **further: Any) -> Film:
        """further: what else `animate` takes"""
        return filmed(self.chunks(talk, samples, settings, **further))

    def chunks(self, talk: Talk, samples: Tensor, settings: Settings, **further: Any) -> Iterator[Chunk]:
        return animate(
            self.model.net,
            self.codec,
            Schedule(self.model.config.schedule),
            self.portrait(talk),
            self.hear(samples),
            settings,
            length=len(samples) // SAMPLES,
            **further,
        )

    def portrait(self, talk: Talk) -> Portrait:
        face, lips = (torch.from_numpy(mask).float() / 255 for mask in (talk.face_mask, talk.lip_mask))
        identity = "neutral" if self.whose is None else self.whose(talk)
        wishes = Wishes(face_mask=face, lip_mask=lips, identity=identity)
        return prepare(talk.portrait, wishes=wishes, framing=Framing("whole", (self.how.size, self.how.size))).portrait


def open_engine(folder: Path, how: How) -> Engine:
    return open_parts(folder / NET, folder / VAE, folder / ENCODER, how)


def open_parts(net: Path, codec: Path, encoder: Path, how: How) -> Engine:
    heard = load_encoder(encoder)
    return Engine(
        load_checkpoint(net, dtype=torch.float32),
        load_codec(codec, dtype=torch.float32),
        lambda samples: encode(heard, Recording(samples)),
        how,
    )


def filmed(chunks: Iterable[Chunk]) -> Film:
    return np.concatenate([as_film(chunk.frames.movedim(1, -1)) for chunk in chunks])


def as_film(pictures: Tensor) -> Film:
    """(n, height, width, 3) in 0..1"""
    return pictures.mul(255).round().clamp(0, 255).byte().numpy()


# ---- through the nodes


@dataclass(frozen=True)
class Nodes:
    client: Any  # tools.comfyui.server.Client
    base: Path  # folder of that ComfyUI
    how: How
    names: tuple[str, str, str] = ("demo", "demo", "demo")  # of network, speech encoder and VAE, as choices

    def make(self, talk: Talk, samples: Tensor, weights: Sequence[float], seed: int) -> Film:
        with _put(self.base / "input", talk, samples) as prefix:
            graph, saving = self._graph(prefix, weights, seed)
            run = self.client.run(graph, timeout=PATIENCE)
            if run.status != "success":
                raise EvaluationError(f"{talk.name} was not made in ComfyUI: {run.message or run.status}")
            (saved,) = run.files(saving)
            path = self.base / "output" / saved["subfolder"] / saved["filename"]
            film = np.concatenate([as_film(batch) for batch in read.Film(path).frames()])
            path.unlink()
        return film

    def _graph(self, prefix: str, weights: Sequence[float], seed: int) -> tuple[Any, str]:
        graph = _harness("workflow").Graph()
        masks = [graph.add("LoadImageMask", image=f"{prefix}-{part}.png", channel="red") for part in ("face", "lip")]
        sound = graph.add("LoadAudio", audio=f"{prefix}.wav")
        models = graph.add(
            "LoadJoyHalloModels",
            **dict(zip(("checkpoint", "audio_encoder", "vae"), self.names, strict=True)),
            face_models="none",
            weight_dtype="auto",
            download=False,
        )
        face = graph.add(
            "FaceMaskPrep",
            image=graph.add("LoadImage", image=f"{prefix}.png")[0],
            which_face="auto",
            framing="whole picture",
            face_expand=1.0,
            lip_expand=1.0,
            identity="neutral",
            face_mask=masks[0][0],
            lip_mask=masks[1][0],
        )
        speech = graph.add(
            "ChineseWav2Vec2Encode",
            audio_encoder=models[1],
            audio=sound[0],
            separate_vocals="off",
            loudness="as recorded",
            normalize="as the encoder was trained",
        )
        film = graph.add(
            "JoyHalloSampler",
            model=models[0],
            vae=models[3],
            face=face[0],
            speech=speech[0],
            seed=seed,
            preset=self.how.preset,
            steps=self.how.steps,
            cfg=self.how.guidance,
            **{f"{region}_weight": weight for region, weight in zip(REGIONS, self.how.weights(weights), strict=True)},
            size=self.how.size,
            picture="square",
            resume=False,
        )
        # mkv loses nothing, and its smallest quality still has the 8 bits of the sampler's frames
        saved = graph.add(
            "SaveTalkingVideo",
            video=film[0],
            audio=sound[0],
            fps=25.0,
            filename_prefix=NAME,
            format="mkv",
            quality="small",
        )
        return graph, saved.node


@contextmanager
def _put(folder: Path, talk: Talk, samples: Tensor) -> Iterator[str]:
    """A talk's files for as long as they are needed. Under new names, so that ComfyUI makes everything anew."""
    prefix, soundfile = uuid.uuid4().hex, library("soundfile", "Writing sound files")
    pictures = {"": talk.portrait, "-face": talk.face_mask, "-lip": talk.lip_mask}
    try:
        for name, picture in pictures.items():
            Image.fromarray(picture).save(folder / f"{prefix}{name}.png")
        # in floating point, as the engine hears it
        soundfile.write(folder / f"{prefix}.wav", samples.numpy(), SAMPLE_RATE, subtype="FLOAT")
        yield prefix
    finally:
        for path in folder.glob(f"{prefix}*"):
            path.unlink()


@contextmanager
def open_nodes(folder: Path, how: How) -> Iterator[Nodes]:
    """A ComfyUI of its own, with the model among its files."""
    comfyui = _harness("comfyui")
    with tempfile.TemporaryDirectory() as place:
        base = Path(place)
        comfyui.install_pack(base)
        for path, name in ((NET, f"{NAME}/{NET}"), (VAE, f"{NAME}/{VAE}"), (ENCODER, f"{NAME}/{ENCODER}")):
            target = base / "models" / "joyhallo" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to((folder / path).resolve())
        with comfyui.Server(base) as server:
            names = f"{NAME}/{NET}", f"{NAME}/{ENCODER}", f"{NAME}/{VAE}"
            yield Nodes(comfyui.Client(server.url), base, how, names)


def _harness(module: str) -> Any:
    try:
        return importlib.import_module(f"demo.{module}")
    except ModuleNotFoundError as error:
        raise EvaluationError(
            f"The nodes are run in a ComfyUI that the repository's folder demo starts, and {error.name} is not here; "
            "run this in a checkout of the repository, after `make test` prepared it, or measure the engine alone with "
            "--engine."
        ) from error


def check(folder: Path) -> None:
    """Raise an EvaluationError unless a model with all its parts lies there."""
    missing = [name for name in (NET, VAE, f"{ENCODER}/config.json") if not (folder / name).is_file()]
    if missing:
        raise EvaluationError(
            f"{folder} lacks {', '.join(missing)}; expected was a folder as demo_model/ is, with {NET}, {VAE} and "
            f"{ENCODER}/."
        )
