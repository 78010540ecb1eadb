"""Making a model's films of talks through ComfyUI's nodes, as users do."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from joyhallo.config import SAMPLE_RATE
from joyhallo.evaluation.drawn.makers import ENCODER, NET, VAE, EvaluationError, How, as_film
from joyhallo.evaluation.drawn.talks import Talk
from joyhallo.evaluation.figures import Film
from joyhallo.film import read
from joyhallo.libraries import library
from joyhallo.methods.hallo.config import REGIONS

from .server import Client, Server, install_pack
from .workflow import Graph

NAME = "evaluated"  # of the model among ComfyUI's
PATIENCE = 1800  # seconds for a film


@dataclass(frozen=True)
class Nodes:
    client: Client
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

    def _graph(self, prefix: str, weights: Sequence[float], seed: int) -> tuple[Graph, str]:
        graph = Graph()
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
    """Provide a talk's files temporarily, under new names so that ComfyUI caches nothing."""
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
    """A separate ComfyUI with the model among its files."""
    with tempfile.TemporaryDirectory() as place:
        base = Path(place)
        install_pack(base)
        for path, name in ((NET, f"{NAME}/{NET}"), (VAE, f"{NAME}/{VAE}"), (ENCODER, f"{NAME}/{ENCODER}")):
            target = base / "models" / "joyhallo" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to((folder / path).resolve())
        with Server(base) as server:
            names = f"{NAME}/{NET}", f"{NAME}/{ENCODER}", f"{NAME}/{VAE}"
            yield Nodes(Client(server.url), base, how, names)
