"""Latents that the small model makes of drawn people, with the pictures they should show, for training its decoder.

    python -m tools.demo_model.outcomes NET CODEC ENCODER -o FILE

People, words and voices are those of training, but no dataset's: nothing moves in them except the mouth, so it is known
what a frame should be. The mouth alone stays as it came out: to err least, a decoder that corrected it would show
doubtful mouths less open.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from joyhallo.evaluation.drawn.acceptance import ALL
from joyhallo.evaluation.drawn.makers import Engine, How, filmed, open_parts
from joyhallo.evaluation.drawn.talks import Talk, talks
from joyhallo.files.contents import WeightsError
from joyhallo.libraries import LibraryError
from joyhallo.training.small.patches import Outcomes

SEED = 500  # of people and sentences: neither a dataset's nor those that are measured
PEOPLE, FRAMES = 120, 80


def outcomes(engine: Engine, people: int = PEOPLE, frames: int = FRAMES) -> Outcomes:
    made = [outcome(engine, talk, number) for number, talk in enumerate(said(engine.how.size, people, frames))]
    return Outcomes(*(torch.stack(parts) for parts in zip(*made, strict=True)))


def said(size: int, people: int, frames: int) -> Sequence[Talk]:
    return talks(people, frames, size, "train", SEED)


def outcome(engine: Engine, talk: Talk, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents (frames, channels, height/8, width/8) and pictures (frames, 3, height, width) in 0..255."""
    chunks = list(engine.chunks(talk, talk.samples, engine.how.settings(ALL, seed)))
    latents = torch.cat([chunk.latents for chunk in chunks])[: talk.length].half()
    meant = np.where(talk.beside_lips[..., None], talk.truth, filmed(chunks))
    return latents, torch.from_numpy(meant).movedim(-1, 1)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.demo_model.outcomes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name in ("net", "codec", "encoder"):
        parser.add_argument(name, type=Path, metavar=name.upper())
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="a .safetensors")
    parser.add_argument("--people", type=int, default=PEOPLE, help="default: %(default)s")
    parser.add_argument("--frames", type=int, default=FRAMES, help="of each (default: %(default)s)")
    parser.add_argument("--size", type=int, default=How.size, help="pixels of each side (default: %(default)s)")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)  # small networks gain nothing from more
    try:
        engine = open_parts(chosen.net, chosen.codec, chosen.encoder, How(size=chosen.size))
        outcomes(engine, chosen.people, chosen.frames).write(chosen.output)
    except (WeightsError, LibraryError, OSError, ValueError) as error:
        parser.exit(2, f"{error}\n")
    return 0


if __name__ == "__main__":
    main()
