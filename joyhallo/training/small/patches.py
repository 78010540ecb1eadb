"""The codec of a small model: principal components of patches, and a decoder that restores what these lose.

    python -m joyhallo.training.small.patches DATASET -o FILE                 the patches, in seconds
    python -m joyhallo.training.small.patches DATASET -o FILE --steps 4000    the decoder too
    python -m joyhallo.training.small.patches DATASET -o FILE --steps 5000 --outcomes OUTCOMES  and what a model leaves

Patches are fitted when there is no FILE yet, and never change: the latents of a dataset stay right. So the others may
follow whenever it suits. Stopped, it goes on where it was; finished, it may be given more steps.

At first the decoder sees latents of pictures, with noise. What a model leaves is wrong in ways of its own: outcomes are
its latents, frame after frame, and the pictures that they mean (`Outcomes`).
"""

from __future__ import annotations

import argparse
import logging
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Generator, Tensor, nn

from ...data.dataset import Clip, DatasetError, Split, open_dataset, replacing
from ...diffusion.codec import LATENT_SCALE, DecoderSizes, PatchCodec, PatchDecoder, Residual, load_codec
from ...files.contents import WeightsError
from ...files.fingerprint import of_module
from ...film.write import VideoError
from ...libraries import LibraryError, brief
from ..average import Average
from ..samples import seeded

log = logging.getLogger(__name__)

HEADER_ENTRY = "steps"  # in the file's header: how long its decoder was trained
FITTED, LEARNT, MEASURED = 1024, 4096, 96  # frames at most, of all clips alike
NOISE = (0.0, 0.1, 0.2, 0.3)  # deviations of the latents' own, at which is measured
SOFT = 0.01  # errors up to this count by their squares
AT_ONCE = 32  # pictures


@dataclass(frozen=True)
class PatchTraining:
    steps: int = 4000
    batch: int = 8
    rate: float = 3e-3
    warmup: int = 50
    noise: float = 0.3  # the strongest in the latents, in deviations of each channel
    edges: float = 0.2  # what differences of neighbouring pixels count beside the pixels themselves
    steady: float = 2.0  # what differences from frame to frame count, with outcomes
    pairs: int = 4  # of frames among the outcomes, beside a batch
    average: float = 0.998
    save: int = 200  # steps
    seed: int = 0
    sizes: DecoderSizes = field(default_factory=DecoderSizes)


# ---- pictures


def frames(clips: Sequence[Clip], most: int) -> Tensor:
    """(n, 3, size, size) in 0..255: as many of each clip, evenly spaced."""
    if not clips:
        raise DatasetError("The dataset has no clips of this kind; prepare or draw some.")
    if len(sizes := {clip.size for clip in clips}) > 1:
        raise DatasetError(f"The clips have {sorted(sizes)} pixels a side; use clips of one size.")
    chosen = clips[:: math.ceil(len(clips) / most)]
    each = most // len(chosen)
    found = [clip.frames(range(0, clip.length, math.ceil(clip.length / each))) for clip in chosen]
    return torch.cat([(some + 1).mul(127.5).round().byte() for some in found])


def pixels(pictures: Tensor) -> Tensor:
    return pictures.float() / 127.5 - 1


def of_split(root: Path, split: Split, most: int) -> Tensor:
    return frames(open_dataset(root, split, needs=()).clips, most)


# ---- outcomes


@dataclass(frozen=True)
class Outcomes:
    """A model's latents, with the pictures that they should show."""

    latents: Tensor  # (clips, frames, channels, height/8, width/8)
    pictures: Tensor  # (clips, frames, 3, height, width) in 0..255

    def write(self, path: Path) -> None:
        with replacing(path) as temporary:
            save_file({"latents": self.latents.half().contiguous(), "pictures": self.pictures.contiguous()}, temporary)

    @classmethod
    def read(cls, path: Path, codec: PatchCodec) -> Outcomes:
        try:
            found = cls(**load_file(path))
        except (OSError, SafetensorError, TypeError) as error:
            raise DatasetError(
                f"{path} holds no outcomes ({brief(error)}); expected a file with latents and pictures, as "
                "python -m tools.demo_model.outcomes writes it."
            ) from error
        made, shown = found.latents.shape, found.pictures.shape
        wanted = (*shown[:2], codec.channels, *(side // LATENT_SCALE for side in shown[3:]))
        if len(shown) != 5 or shown[1] < 2 or made != wanted:
            raise DatasetError(
                f"{path} has latents {tuple(made)} and pictures {tuple(shown)}; expected (clips, at least 2 frames, "
                f"{codec.channels}, height/8, width/8) and (clips, frames, 3, height, width)."
            )
        return found

    def pairs(self, count: int, dice: Generator) -> tuple[Tensor, Tensor]:
        """Latents and pictures in -1..1 of frames, and then of those that follow them."""
        clips = torch.randint(len(self.latents), (count,), generator=dice).repeat(2)
        first = torch.randint(self.latents.shape[1] - 1, (count,), generator=dice)
        places = torch.cat([first, first + 1])
        return self.latents[clips, places].float(), pixels(self.pictures[clips, places])


# ---- the file


def write(path: Path, codec: PatchCodec, step: int = 0) -> None:
    """Write the patches in full, the decoder in half precision; its rounding is far below the codec's losses."""
    kept = {key: tensor.half() if key.startswith("decoder.") else tensor for key, tensor in codec.tensors().items()}
    with replacing(path) as temporary:
        save_file({key: tensor.contiguous() for key, tensor in kept.items()}, temporary, {HEADER_ENTRY: f"{step}"})


def read(path: Path, channels: int) -> tuple[PatchCodec, int]:
    """Read a codec and the number of steps that its decoder was trained for."""
    codec = load_codec(path)
    if not isinstance(codec, PatchCodec) or codec.channels != channels:
        found = f"patches of {codec.channels} channels" if isinstance(codec, PatchCodec) else "another codec"
        raise WeightsError(
            f"{path} holds {found}; expected patches of {channels} channels. Patches of a file never change: name "
            "another file, or set --channels to match."
        )
    with safe_open(path, "pt") as file:
        return codec, int((file.metadata() or {}).get(HEADER_ENTRY, 0))


def fitted(root: Path, channels: int, evenness: float) -> PatchCodec:
    return PatchCodec.fit(pixels(of_split(root, "train", FITTED)), channels, evenness)


# ---- the decoder


@dataclass
class Run:
    """A decoder in training, with all that resuming it needs."""

    codec: PatchCodec  # with this decoder
    average: Average
    optimizer: torch.optim.Optimizer
    step: int  # that was last done
    since: int  # the step that the optimizer and the average remember back to

    @property
    def decoder(self) -> PatchDecoder:
        assert self.codec.decoder is not None
        return self.codec.decoder

    @property
    def averaged(self) -> PatchCodec:
        weights = {f"decoder.{name}": tensor for name, tensor in self.average.weights.items()}
        return PatchCodec.of({**self.codec.tensors(), **weights})


def begin(path: Path, codec: PatchCodec, step: int, deviations: Tensor, settings: PatchTraining) -> Run:
    """Begin from an unfinished run's state beside the file, else from the file's decoder, else from a new one."""
    decoder = untrained(codec.channels, deviations, settings)
    if codec.decoder is not None:
        decoder = PatchDecoder(codec.channels, DecoderSizes.of(codec.decoder.state_dict()))
        decoder.load_state_dict(codec.decoder.state_dict())
    parameters = dict(decoder.named_parameters())
    optimizer = torch.optim.AdamW(parameters.values(), settings.rate, betas=(0.9, 0.99))
    run = Run(PatchCodec(codec.patches, decoder), Average(parameters, settings.average), optimizer, step, step)
    left = beside(path)
    if left.exists():
        _restore(run, left)
    return run


def untrained(channels: int, deviations: Tensor, settings: PatchTraining) -> PatchDecoder:
    """A new decoder that adds nothing yet, with all channels scaled alike."""
    torch.manual_seed(settings.seed)
    decoder = PatchDecoder(channels, settings.sizes)
    with torch.no_grad():
        decoder.enter.weight /= deviations
    residuals = (part for part in decoder.modules() if isinstance(part, Residual))
    for last in (decoder.leave, *(part.second for part in residuals)):
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
    return decoder


def beside(path: Path) -> Path:
    """The path of an unfinished run's state."""
    return path.with_suffix(".training")


def save(path: Path, run: Run) -> None:
    left = {"step": run.step, "since": run.since, "patches": of_module(run.codec.patches)}
    weights = {"weights": run.decoder.state_dict(), "average": run.average.weights}
    with replacing(beside(path)) as temporary:
        torch.save({**left, **weights, "optimizer": run.optimizer.state_dict()}, temporary)
    write(path, run.averaged, run.step)


def _restore(run: Run, path: Path) -> None:
    try:
        left = torch.load(path, weights_only=True)
    except Exception as error:  # damaged files raise anything
        raise WeightsError(
            f"{path} cannot be read ({brief(error)}); delete it to resume from the decoder in the codec's file."
        ) from error
    if left["patches"] != of_module(run.codec.patches):
        return  # of a file that was there before
    run.decoder.load_state_dict(left["weights"])
    run.average.load(left["average"])
    run.optimizer.load_state_dict(left["optimizer"])
    run.step, run.since = left["step"], left["since"]


def train(
    path: Path, root: Path, codec: PatchCodec, step: int, settings: PatchTraining, outcomes: Outcomes | None = None
) -> PatchCodec:
    """Train up to settings.steps, writing the file at intervals."""
    seen = of_split(root, "train", LEARNT)
    if outcomes is not None and outcomes.pictures.shape[2:] != seen.shape[1:]:
        raise DatasetError(
            f"The outcomes are pictures of {outcomes.pictures.shape[-1]} pixels a side and the clips have "
            f"{seen.shape[-1]}; use one size."
        )
    scales = deviations(codec, seen)
    run = begin(path, codec, step, scales, settings)
    while run.step < settings.steps:
        for group in run.optimizer.param_groups:
            group["lr"] = rate(run, settings)
        loss = loss_of(run, seen, scales, settings, outcomes)
        run.optimizer.zero_grad()
        loss.backward()
        run.optimizer.step()
        run.step += 1
        run.average.update(run.step - run.since)
        if run.step % settings.save == 0 or run.step == settings.steps:
            save(path, run)
            log.info("step %d of %d  loss %.4f", run.step, settings.steps, loss.item())
    beside(path).unlink(missing_ok=True)
    return run.averaged


def loss_of(run: Run, seen: Tensor, deviations: Tensor, settings: PatchTraining, outcomes: Outcomes | None) -> Tensor:
    latents, originals = example(run.codec, seen, deviations, settings, run.step)
    if outcomes is None:
        return error(run.codec.pictures(latents), originals, settings.edges)
    left, meant = outcomes.pairs(settings.pairs, seeded(settings.seed, "outcomes", run.step))
    latents, originals = torch.cat([latents, left]), torch.cat([originals, meant])
    made = run.codec.pictures(latents)
    return error(made, originals, settings.edges) + settings.steady * unsteadiness((made - originals)[-len(left) :])


def unsteadiness(apart: Tensor) -> Tensor:
    """apart: errors of frames, and then of those that follow them"""
    first, second = apart.chunk(2)
    return (second - first).abs().mean()


def rate(run: Run, settings: PatchTraining) -> float:
    """The learning rate: rising, then falling to zero at the end."""
    rising = min(1, (run.step - run.since + 1) / settings.warmup)
    return settings.rate * rising * (1 + math.cos(math.pi * run.step / settings.steps)) / 2


def example(
    codec: PatchCodec, seen: Tensor, deviations: Tensor, settings: PatchTraining, step: int
) -> tuple[Tensor, Tensor]:
    """Latents as a sampler might leave them, and the pictures in -1..1 that should be made of them."""
    dice = seeded(settings.seed, "patches", step)
    originals = pixels(seen[torch.randint(len(seen), (settings.batch,), generator=dice)])
    mirrored = torch.rand(settings.batch, 1, 1, 1, generator=dice) < 0.5
    originals = torch.where(mirrored, originals.flip(3), originals)
    strength = settings.noise * torch.rand(settings.batch, 1, 1, 1, generator=dice)
    return noisy(codec.encode(originals), strength * deviations, dice), originals


def noisy(latents: Tensor, strength: Tensor, dice: Generator) -> Tensor:
    return latents + strength * torch.randn(latents.shape, generator=dice)


def error(made: Tensor, originals: Tensor, edges: float) -> Tensor:
    """The error of pixels, by absolute values smoothed near zero, and of differences between neighbours."""
    apart = made - originals
    across, down = apart.diff(dim=3), apart.diff(dim=2)
    return (apart.square() + SOFT**2).sqrt().mean() + edges * (across.abs().mean() + down.abs().mean())


def deviations(codec: PatchCodec, seen: Tensor) -> Tensor:
    """(channels, 1, 1)"""
    latents = torch.cat([codec.encode(pixels(some)) for some in seen.split(AT_ONCE)])
    return latents.std((0, 2, 3))[:, None, None]


# ---- figures


def measured(codec: PatchCodec, seen: Tensor) -> dict[float, tuple[float, float]]:
    """PSNR of the patches alone and with the decoder, for each strength of noise in the latents."""
    scales, alone = deviations(codec, seen), PatchCodec(codec.patches)
    return {noise: (_psnr(alone, seen, noise * scales), _psnr(codec, seen, noise * scales)) for noise in NOISE}


def _psnr(codec: PatchCodec, seen: Tensor, strength: Tensor) -> float:
    """PSNR over all pixels together; the noise is the same for every codec."""
    dice, squares = Generator().manual_seed(0), 0.0
    for some in seen.split(AT_ONCE):
        originals = pixels(some)
        made = codec.decode(noisy(codec.encode(originals), strength, dice))
        squares += (made - (originals / 2 + 0.5)).square().sum().item()
    return -10 * math.log10(squares / seen.numel())


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        if chosen.output.exists():
            codec, step = read(chosen.output, chosen.channels)
        else:
            codec, step = fitted(chosen.dataset, chosen.channels, chosen.evenness), 0
            write(chosen.output, codec)
        outcomes = None if chosen.outcomes is None else Outcomes.read(chosen.outcomes, codec)
        if step < chosen.steps:
            codec = train(chosen.output, chosen.dataset, codec, step, PatchTraining(chosen.steps), outcomes)
        held_out = of_split(chosen.dataset, "validation", MEASURED)
    except (WeightsError, DatasetError, LibraryError, VideoError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print("noise  patches alone  with the decoder")
    for noise, (alone, decoded) in measured(codec, held_out).items():
        print(f"{noise:5.1f}  {alone:10.2f} dB  {decoded:13.2f} dB")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m joyhallo.training.small.patches",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="The figures are of the validation split. The exit code is 0, or 2 if something cannot be used.",
    )
    parser.add_argument("dataset", type=Path, metavar="DATASET")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="a .safetensors")
    parser.add_argument("--channels", type=int, default=16, help="of the latents (default: %(default)s)")
    evenness = "0: channels are as strong as in the pictures, 1: all alike (default: %(default)s)"
    parser.add_argument("--evenness", type=float, default=0.5, help=evenness)
    parser.add_argument("--steps", type=int, default=0, help="that the decoder is trained for in all (default: none)")
    parser.add_argument("--outcomes", type=Path, metavar="FILE", help="what a model left: latents and their pictures")
    return parser


if __name__ == "__main__":
    sys.exit(main())
