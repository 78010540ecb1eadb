"""The networks that redub, of published size: alone, and from a film's frames and sound to frames and to a file."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from joyhallo.config import FPS, SAMPLE_RATE
from joyhallo.diffusion.codec import LATENT_SCALE
from joyhallo.methods.latentsync import method as latentsync
from joyhallo.methods.latentsync.network import FRAMES, INPUTS
from joyhallo.methods.latentsync.network import UNet as LatentSyncUNet
from joyhallo.methods.latentsync.sampling import STEPS
from joyhallo.methods.musetalk import method as musetalk
from joyhallo.methods.musetalk.network import CHANNELS, FACES, TOKENS
from joyhallo.methods.musetalk.network import UNet as MuseTalkUNet
from joyhallo.methods.redub import Engine, Redubber, Wishes
from joyhallo.methods.ultralight import method as ultralight
from joyhallo.methods.ultralight.network import Generator as UltralightGenerator
from joyhallo.methods.wav2lip import method as wav2lip
from joyhallo.methods.wav2lip.network import Generator as Wav2LipGenerator
from joyhallo.sound.audio import Recording, prepare
from joyhallo.sound.hubert import Hubert
from joyhallo.sound.whisper import BANDS, COLUMNS, Whisper

from .bench import SEED, Bench, drawn
from .vae import Autoencoder

WHOLE_STEPS = 4  # of LatentSync, where a whole film is measured
LATENTS = 32  # along each side of MuseTalk's faces
MOST = 10_000  # frames at once: each method takes as many as it likes
SOUND = 384  # numbers of each token of Whisper's


@dataclass(frozen=True)
class Subject:
    """A method, its engine, and a batch for its network alone."""

    method: Callable[[Engine, int, Wishes], Redubber]
    engine: Engine
    batch: int  # frames
    alone: Callable[[], object]
    wishes: Wishes

    @property
    def networks(self) -> list[nn.Module]:
        found = [self.engine.network, *self.engine.parts.values()]
        return [getattr(network, "vae", network) for network in found]


def parts(bench: Bench) -> dict[str, Callable[[], dict[str, Any]]]:
    named: dict[str, Callable[[Bench], Subject]] = {"Wav2Lip 96": lambda b: of_wav2lip(b, 96)}
    if not bench.scale.few:
        named["Wav2Lip 256"] = lambda b: of_wav2lip(b, 256)
    for version, side in latentsync.SIDES.items():
        if side in bench.scale.latentsync_sides:
            named[f"LatentSync {side}"] = lambda b, version=version: of_latentsync(b, version)
    named |= {"MuseTalk": of_musetalk, "Ultralight": of_ultralight}
    made: dict[str, Callable[[], dict[str, Any]]] = {}
    for name, subject in named.items():
        if not bench.scale.few or not name.startswith("Wav2Lip"):
            made[f"{name}, alone"] = lambda subject=subject: alone(bench, subject(bench))
        if not bench.scale.few or name.startswith("Wav2Lip"):  # others hear half a minute at least
            made[f"{name}, whole"] = lambda subject=subject: whole(bench, subject(bench))
    if not bench.scale.few:
        made["Whisper"] = lambda: whisper(bench)
    for name, subject in named.items() if not bench.scale.few else ():
        made[f"{name}, files"] = lambda subject=subject: with_files(bench, subject(bench))
    return made


# ---- subjects


def _network(bench: Bench, build: Callable[[], nn.Module], dtype: torch.dtype | None = None) -> nn.Module:
    return drawn(build, bench.device, dtype or bench.half)


def _lasting(network: nn.Module) -> nn.Module:
    """As files of networks without norms are opened."""
    return network.to(memory_format=torch.channels_last)


def _batch(bench: Bench, usual: int) -> int:
    return min(usual, bench.scale.film_frames)


def _random(bench: Bench, *shape: int) -> Tensor:
    return torch.rand(shape, device=bench.device, dtype=bench.half)


def of_wav2lip(bench: Bench, size: int) -> Subject:
    network = _lasting(_network(bench, lambda: Wav2LipGenerator(size)))
    frames = _batch(bench, wav2lip.AT_ONCE[size])
    heard, faces = _random(bench, frames, 1, 80, 16), _random(bench, frames, 6, size, size)
    faces = faces.contiguous(memory_format=torch.channels_last)
    engine = Engine(network, bench.device, bench.half)
    return Subject(wav2lip.redubber, engine, frames, lambda: network(heard, faces), Wishes(cover_tail=True))


@dataclass(frozen=True)
class Codec:
    vae: Autoencoder

    def encode(self, pixels: Tensor) -> Tensor:
        return self.vae.encode(pixels.to(self.vae.dtype)).latent_dist.mean * 0.18215

    def decode(self, latents: Tensor) -> Tensor:
        return self.vae.decode(latents.to(self.vae.dtype) / 0.18215).sample


def _around(bench: Bench) -> dict[str, Any]:
    """What both methods of diffusion work with."""
    scale = bench.scale
    vae = drawn(lambda: Autoencoder(scale.vae, scale.vae_layers), bench.device, bench.half)
    return {"vae": Codec(vae), "whisper": _whisper(bench)}


def _whisper(bench: Bench) -> nn.Module:
    return _network(bench, lambda: Whisper(SOUND, bench.scale.whisper_blocks), torch.float32)


def of_latentsync(bench: Bench, version: str) -> Subject:
    """A step of it: both rows of guidance for one window."""
    network = _network(bench, lambda: LatentSyncUNet(bench.scale.latentsync))
    side = latentsync.SIDES[version] // LATENT_SCALE
    frames = _batch(bench, FRAMES)
    seen, sound = _random(bench, frames, INPUTS, side, side), _random(bench, frames, TOKENS, SOUND)
    moment, heard = torch.full((1,), 501, device=bench.device), network.listen(sound)  # type: ignore[operator]
    engine = Engine(network, bench.device, bench.half, _around(bench), version)
    wishes = Wishes(steps=1 if bench.small else WHOLE_STEPS)
    return Subject(latentsync.redubber, engine, frames, lambda: network(seen, moment, [None, heard]), wishes)


def of_musetalk(bench: Bench) -> Subject:
    network = _network(bench, lambda: MuseTalkUNet(bench.scale.musetalk))
    frames = _batch(bench, musetalk.AT_ONCE)
    latents, sound = _random(bench, frames, FACES * CHANNELS, LATENTS, LATENTS), _random(bench, frames, TOKENS, SOUND)
    engine = Engine(network, bench.device, bench.half, _around(bench))
    return Subject(musetalk.redubber, engine, frames, lambda: network(latents, sound), Wishes())


def of_ultralight(bench: Bench) -> Subject:
    sizes, frames = bench.scale.ultralight, _batch(bench, ultralight.AT_ONCE)
    network = _lasting(_network(bench, lambda: UltralightGenerator(sizes)))
    heard, faces = _random(bench, frames, *sizes.ear.shape), _random(bench, frames, 6, 160, 160)
    faces = faces.contiguous(memory_format=torch.channels_last)
    hubert = _network(bench, lambda: Hubert(bench.scale.hubert), torch.float32)
    engine = Engine(network, bench.device, bench.half, {"hubert": hubert})
    return Subject(ultralight.redubber, engine, frames, lambda: network(heard, faces), Wishes())


# ---- what is measured


@torch.inference_mode()
def alone(bench: Bench, subject: Subject) -> dict[str, Any]:
    figures = bench.clock(subject.alone, 1.0).figures
    found = {"batch": subject.batch, "frames_per_s": 1e3 * subject.batch / figures["ms"], **figures}
    if subject.method is latentsync.redubber:
        found["frames_per_s"] /= STEPS
        found["steps"] = STEPS
    return found


def _clip(bench: Bench, frames: int) -> Any:
    from ..redub_methods.measuring import Clip

    def make() -> Clip:
        return Clip.drawn(bench.scale.film, frames, frames, noise(frames))

    return bench.keep(("clip", frames), make)


def noise(frames: int) -> Recording:
    """That swells as syllables do: to read the speech that comes along takes a library."""
    count = frames * SAMPLE_RATE // FPS
    swell = torch.linspace(0, frames / FPS * 8 * torch.pi, count).sin().abs()
    samples = torch.randn(count, generator=torch.Generator().manual_seed(SEED))
    return prepare((0.1 * swell * samples)[None], SAMPLE_RATE)


def _frames(bench: Bench, subject: Subject) -> int:
    """Windows of LatentSync take seconds: two of them are enough."""
    most = bench.scale.film_frames
    return min(most, 2 * FRAMES) if subject.method is latentsync.redubber else most


@torch.inference_mode()
def whole(bench: Bench, subject: Subject) -> dict[str, Any]:
    """From frames and sound in the machine's memory to frames in it, pasting and all."""
    from ..redub_methods.measuring import redubbed

    clip = _clip(bench, _frames(bench, subject))
    method = subject.method(subject.engine, MOST, subject.wishes)
    made: list[Tensor] = []

    def work() -> None:
        made[:] = [redubbed(method, clip, bench.device).cpu()]

    known = [tensor for network in subject.networks for tensor in network.state_dict().values()]
    peak = bench.clock.peak(work, known)
    figures = bench.clock(work, 2.0).figures if not bench.small else {}
    changed = float((made[0] != clip.pictures[: len(made[0])]).any(-1).float().mean())
    told = {"side": bench.scale.film, "frames": len(made[0]), "steps": subject.wishes.steps, "changed_share": changed}
    rate = {"frames_per_s": 1e3 * len(made[0]) / figures["ms"]} if figures else {}
    return {**told, **rate, **figures, **peak}


@torch.inference_mode()
def with_files(bench: Bench, subject: Subject) -> dict[str, Any]:
    """The same from an mp4 file to a lossless one: decoding, pasting, encoding, all at a time."""
    from .. import redub

    frames = _frames(bench, subject)
    clip = _clip(bench, frames)
    method = subject.method(subject.engine, MOST, subject.wishes)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        path = redub.film(folder, bench.scale.film, frames)
        given = method, path, clip.track, clip.recording
        seconds = []
        for number in range(2):
            _, spent = redub.spent(lambda number=number: redub.whole(*given, folder / f"{number}.mkv", bench.device))
            seconds.append(spent)
    return {"side": bench.scale.film, "frames_per_s": frames / min(seconds), "seconds": seconds, "fps": FPS}


@torch.inference_mode()
def whisper(bench: Bench) -> dict[str, Any]:
    """Half a minute of sound."""
    network, mel = _whisper(bench), torch.rand(1, BANDS, COLUMNS, device=bench.device)
    return bench.clock(lambda: network(mel, normed=True), 0.5).figures
