"""`animate` makes frames from a portrait and speech features, chunk by chunk; `Sampler` denoises one chunk."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import torch
from torch import Tensor, nn

from ...diffusion.codec import LATENT_SCALE
from ...diffusion.networks.blocks import Runner, at_once
from ...diffusion.schedule import Schedule, Step
from ...diffusion.solvers import SOLVERS
from ..chunks import Kept, Progress
from .config import CHUNK_FRAMES, GUIDANCE, MOTION_FRAMES, REGIONS, SAMPLING_STEPS, SHALLOW_LAYERS, NetConfig
from .networks.attention import Reading
from .networks.audio_module import RegionGates
from .networks.denoising_unet import ChunkConditions, ClipConditions, Conditions, DenoisingUNet
from .networks.net import Net

log = logging.getLogger(__name__)


class Codec(Protocol):
    def encode(self, pixels: Tensor) -> Tensor:
        """Pictures (n, 3, height, width) in -1..1 to latents (n, channels, height/8, width/8) of unit variance."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents to pictures (n, 3, height, width) in 0..1, in full precision."""
        ...


class Windows(Protocol):
    """Speech features (frames, window, layers, channels): a tensor, or a Speech that computes them on demand."""

    @property
    def shape(self) -> torch.Size: ...

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> Tensor: ...


@dataclass(frozen=True)
class Portrait:
    """The picture's part in a clip: pixels, identity and regions."""

    picture: Tensor  # (3, height, width) in -1..1
    identity: Tensor  # (face_dim): the recogniser's raw embedding
    locator: Tensor  # (3, height, width) in 0..1: the rectangle of the face, drawn
    masks: Sequence[Tensor]  # per level (3, pixels) in 0..1: soft regions for pose, expression and lip


@dataclass(frozen=True)
class Settings:
    steps: int = SAMPLING_STEPS
    guidance: float = GUIDANCE  # 1 or less: only the conditional row, at half the cost
    seed: int = 42
    weights: Sequence[float] | Tensor = (
        1.0,
        1.0,
        1.0,
    )  # pose, expression, lip; or (frames, 3), whose last row is repeated
    chunk_frames: int = CHUNK_FRAMES
    motion_frames: int = MOTION_FRAMES
    overlap: int = 0  # frames at the end of a chunk that the next one repeats before it continues
    rows_together: bool = True  # False, or too little memory: the guidance rows run one after the other
    solver: str = "ddim"  # one of SOLVERS
    guidance_span: tuple[float, float] = (
        0.0,
        1.0,
    )  # the part of the way from noise (0) to picture (1) in which guidance acts
    reuse: int = 1  # the deep layers run once every so many steps

    @property
    def guided(self) -> bool:
        return self.guidance > 1


@dataclass(frozen=True)
class Stage:
    """The parts of the network that run at a step."""

    guided: bool = True  # both guidance rows, or only the conditional one
    full: bool = True  # the whole network, or only the shallow layers on the deep features of the last full step


def stages(settings: Settings, steps: int) -> list[Stage]:
    """The stage of each step. Steps are evenly spaced, so a share of them spans the same noise levels for any count."""
    start, end = settings.guidance_span
    planned: list[Stage] = []
    last_full = -settings.reuse
    for i in range(steps):
        guided = settings.guided and start <= i / steps < end
        # when guidance begins, no deep features of the unconditional row exist
        full = i - last_full >= settings.reuse or (guided and not planned[last_full].guided)
        last_full = i if full else last_full
        planned.append(Stage(guided, full))
    return planned


@dataclass(frozen=True)
class Chunk:
    index: int
    start: int  # index in the clip of its first frame
    latents: Tensor  # (chunk_frames, channels, height, width), with frames before `start` and past the clip's end
    frames: Tensor  # (up to chunk_frames, 3, height, width) in 0..1


def as_it_is(network: nn.Module) -> nn.Module:
    return network


def untouched(frames: Tensor) -> Tensor:
    return frames


@torch.no_grad()
def animate(
    net: Net,
    codec: Codec,
    schedule: Schedule,
    portrait: Portrait,
    windows: Windows,
    settings: Settings,
    *,
    length: int | None = None,
    noise: Iterable[Tensor] | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    ready: Callable[[nn.Module], nn.Module] = as_it_is,
    run: Runner = at_once,
    on_step: Callable[[Progress], None] | None = None,
    steady: Callable[[Tensor], Tensor] = untouched,
    anchors: Collection[int] = (),
    kept: Kept | None = None,
) -> Iterator[Chunk]:
    """Yield the frames of a talking portrait, chunk by chunk.

    windows (frames, window, layers, channels): speech features, one row per video frame; an incomplete last
    chunk repeats the last row. `length` frames are kept (default: all). `noise` replaces the seed's: one
    (chunk_frames, channels, height/8, width/8) per chunk. `ready` is called with each network before it runs, to load
    it, and `run` with each part of the denoiser. Closing the generator, or an exception from `on_step`, stops at once.

    `steady` corrects the frames of each chunk before they are shown and continued. Chunks whose numbers are in
    `anchors` continue from the portrait instead. Chunks that `kept` holds are not computed again.
    """
    check(net.config, portrait, windows, settings)
    steps = SOLVERS[settings.solver].steps(schedule, settings.steps)
    size, overlap = settings.chunk_frames, settings.overlap
    length = len(windows) if length is None else min(length, len(windows))
    starts = chunk_starts(length, settings)
    noise = iter(noise) if noise is not None else seeded_noise(net.config, portrait, settings)

    @cache
    def sampler() -> Sampler:
        encoded = codec.encode(portrait.picture[None])
        return Sampler(net, portrait, encoded, settings, torch.device(device), dtype, ready, run)

    past = Past.before(portrait, settings)
    for index, start in enumerate(starts):
        drawn, latents = next(noise), None if kept is None else kept.read(index)
        if latents is None:
            motion = None if index in anchors else past.motion(codec)
            chunk = sampler().prepare_chunk(padded(windows[start : start + size], size), start, motion)
            report = _reporter(on_step, index * len(steps), len(starts) * len(steps))
            latents = sampler().denoise(chunk, drawn, steps, report, past.held(codec))
            if kept is not None:
                kept.write(index, latents)
        known = overlap if index else 0
        decoded = codec.decode(latents[known:]).float()
        frames = steady(decoded)
        past = past.followed_by(frames, latents if frames is decoded else None)
        yield Chunk(index, start + known, latents, frames[: max(0, length - start - known)])


def chunk_starts(length: int, settings: Settings) -> range:
    """The first row of each chunk, as a range."""
    return range(0, max(1, length - settings.overlap), settings.chunk_frames - settings.overlap)


@dataclass(frozen=True)
class Past:
    """The frames that a chunk continues from; the last `overlap` of them are repeated in it."""

    frames: Tensor  # (motion frames + overlap, 3, height, width) in -1..1
    overlap: int
    latents: Tensor | None = None  # of the frames' own chunk, if these were not corrected after decoding
    shown: bool = False  # False at first: the portrait stands in

    @classmethod
    def before(cls, portrait: Portrait, settings: Settings) -> Past:
        count = settings.motion_frames + settings.overlap
        return cls(portrait.picture.expand(count, -1, -1, -1), settings.overlap)

    def followed_by(self, frames: Tensor, latents: Tensor | None) -> Past:
        """frames (n, 3, height, width) in 0..1"""
        count = len(self.frames)
        recent = torch.cat([self.frames, frames.to(self.frames) * 2 - 1])[-count:] if count else self.frames
        return Past(recent, self.overlap, latents, shown=True)

    def motion(self, codec: Codec) -> Tensor | None:
        """Latents of the motion frames before the chunk."""
        before = self.frames[: len(self.frames) - self.overlap]
        return codec.encode(before) if self.shown and len(before) else None

    def held(self, codec: Codec) -> Tensor | None:
        """Latents of the overlap that the chunk begins with; frames corrected since decoding are encoded again."""
        if not self.shown or not self.overlap:
            return None
        return codec.encode(self.frames[-self.overlap :]) if self.latents is None else self.latents[-self.overlap :]


def seeded_noise(config: NetConfig, portrait: Portrait, settings: Settings) -> Iterator[Tensor]:
    """Yield each chunk's noise, drawn on the CPU from one generator, so that it is the same on every device."""
    generator = torch.Generator("cpu").manual_seed(settings.seed)
    height, width = (side // LATENT_SCALE for side in portrait.picture.shape[1:])
    while True:
        drawn = torch.randn((config.latent_channels, settings.chunk_frames, height, width), generator=generator)
        yield drawn.transpose(0, 1)


def padded(rows: Tensor, count: int) -> Tensor:
    if len(rows) == count:
        return rows
    return torch.cat([rows, rows[-1:].expand(count - len(rows), *rows.shape[1:])])


def _reporter(on_step: Callable[[Progress], None] | None, done: int, total: int) -> Callable[[Tensor], None] | None:
    if on_step is None:
        return None

    def report(estimate: Tensor) -> None:
        nonlocal done
        done += 1
        on_step(Progress(done, total, estimate))

    return report


class Sampler:
    """Runs the networks for one clip.

    The original's order of rows, which the published weights expect: reference pictures are [portrait, motion
    frames...] for the unconditional half, then the same for the conditional half, and row r of these is encoded with
    the unconditional face tokens if r is even, with the conditional ones if it is odd.
    """

    def __init__(
        self,
        net: Net,
        portrait: Portrait,
        portrait_latent: Tensor,
        settings: Settings,
        device: torch.device,
        dtype: torch.dtype,
        ready: Callable[[nn.Module], nn.Module] = as_it_is,
        run: Runner = at_once,
    ):
        """portrait_latent: the encoded picture (1, channels, height/8, width/8)."""
        self.net, self.portrait, self.settings, self.ready, self.run = net, portrait, settings, ready, run
        self.device, self.dtype = device, dtype
        self.together = settings.guided and settings.rows_together
        motion, half = settings.motion_frames, 1 + settings.motion_frames
        self.reference_tokens = [0, half % 2]
        self.motion_tokens = torch.tensor(
            [[(row + i) % 2 for i in range(1, 1 + motion)] for row in (0, half)], dtype=torch.long
        )

        identity = self.here(portrait.identity).reshape(1, -1)
        self.face_tokens = ready(net.imageproj)(torch.cat([torch.zeros_like(identity), identity]))
        self.portrait_features = self.look(portrait_latent.expand(2, -1, -1, -1), torch.arange(2))
        self.clip = self._prepare_clip()

    def here(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, self.dtype)

    def _prepare_clip(self) -> ClipConditions:
        feature = self.ready(self.net.face_locator)(self.here(self.portrait.locator)[None])
        references = [features[self.reference_tokens] for features in self.portrait_features]
        locator = torch.cat([torch.zeros_like(feature), feature])
        return self._denoiser().prepare_clip(references, self.face_tokens, locator)

    def prepare_chunk(self, windows: Tensor, start: int, motion_latents: Tensor | None) -> ChunkConditions:
        """windows (frames, ...), motion_latents (motion frames, ...); without them the portrait stands in."""
        tokens = self.ready(self.net.audioproj)(self.here(windows))
        motion = self.motion_features(motion_latents)
        return self._denoiser().prepare_chunk(tokens, motion, self._gates(start, len(windows)), len(windows))

    def motion_features(self, latents: Tensor | None) -> list[Tensor]:
        """Reference features of the motion frames, per site (2 rows, motion frames, pixels, channels)."""
        if latents is None:
            return [features[self.motion_tokens] for features in self.portrait_features]
        # with an odd number of motion frames, both rows get the same tokens
        rows = self.motion_tokens[:1] if self.settings.motion_frames % 2 else self.motion_tokens
        features = self.look(latents.repeat(len(rows), 1, 1, 1), rows.flatten())
        return [f.unflatten(0, rows.shape).expand(2, -1, -1, -1) for f in features]

    def denoise(
        self,
        chunk: ChunkConditions,
        noise: Tensor,
        steps: Sequence[Step],
        report: Callable[[Tensor], None] | None = None,
        held: Tensor | None = None,
    ) -> Tensor:
        """Denoise a chunk. held: fixed latents of its first frames, which the others are made to match."""
        unet, solver = self._denoiser(), SOLVERS[self.settings.solver].solver()
        noise = noise.to(self.device, torch.float32)
        x, held = noise, noise[:0] if held is None else held.to(noise)
        deep = None
        for step, stage in zip(steps, stages(self.settings, len(steps)), strict=True):
            if stage.full:
                deep = None  # free it before the next is made
            rows, deep = self.rows(unet, x, step.timestep, chunk, stage, deep)
            v = self.guide(rows)
            # held frames move in a straight line from their noise to their latents, which every solver preserves
            v[: len(held)] = step.velocity(held, noise[: len(held)])
            if report is not None:
                report(step.clean(x, v))
            x = solver.advance(step, x, v)
        return x

    def velocity(self, unet: DenoisingUNet, x: Tensor, timestep: int, chunk: ChunkConditions) -> Tensor:
        rows, _ = self.rows(unet, x, timestep, chunk, Stage(self.settings.guided))
        return self.guide(rows)

    def guide(self, rows: list[Tensor]) -> Tensor:
        if len(rows) == 1:
            return rows[0]
        unconditional, conditional = rows
        return unconditional + self.settings.guidance * (conditional - unconditional)

    def rows(
        self,
        unet: DenoisingUNet,
        x: Tensor,
        timestep: int,
        chunk: ChunkConditions,
        stage: Stage,
        deep: Tensor | None = None,
    ) -> tuple[list[Tensor], Tensor | None]:
        """The predictions that guidance combines, [unconditional, conditional] or the latter alone, and deep features.

        Deep features change slowly from step to step, so with `reuse` a full step keeps the input of its shallow
        layers, (rows, frames, ...), and the next steps run these layers alone. `deep` is that of the last full step;
        the second result is what to pass at the next step, or None without reuse. If both rows together exceed the
        memory, they run one after the other from then on.
        """
        clip, x, t = self.clip, self.here(x), torch.full((1,), timestep, device=self.device)
        shallow = SHALLOW_LAYERS if self.settings.reuse > 1 else 0

        def run(passes: Sequence[Conditions]) -> tuple[list[Tensor], Tensor | None]:
            found, entered = [], []
            for conditions in passes:
                kept = None if deep is None else deep[conditions.rows].flatten(0, 1)
                v, kept = unet(x, t, conditions, shallow, kept, self.run)
                found += v.float().split(chunk.frames)
                entered += [] if kept is None else [kept.unflatten(0, (-1, chunk.frames))]
            if deep is not None or not entered:
                return found, deep
            return found, entered[0] if len(entered) == 1 else torch.cat(entered)

        unguided = Conditions(clip, chunk, slice(0, 1), _unguided(chunk), hearing=False)
        # the conditional row is the last, whether deep features are kept of two rows or of it alone
        guided = Conditions(clip, chunk, slice(-1, None), _guided(chunk, first=0))
        if self.together and stage.guided:
            readings = [*_unguided(chunk), *_guided(chunk, first=chunk.frames)]
            try:
                return run([Conditions(clip, chunk, slice(0, 2), readings)])
            except RuntimeError as error:
                if "out of memory" not in str(error):  # each kind of device raises its own exception
                    raise
                self.together = False
                log.warning(
                    "Too little memory for both guidance rows together: from now on they run one after the other."
                )
        # outside `except`, where the error would keep the tensors of the failed pass alive
        return run([unguided, guided] if stage.guided else [guided])

    def look(self, latents: Tensor, tokens: Tensor) -> list[Tensor]:
        """Compute reference features of pictures, each encoded with the face tokens of row 0 or 1."""
        return self.ready(self.net.reference_unet)(self.here(latents), self.face_tokens[tokens])

    def _denoiser(self) -> DenoisingUNet:
        unet = self.ready(self.net.denoising_unet)
        assert isinstance(unet, DenoisingUNet)
        return unet

    def _gates(self, start: int, frames: int) -> list[RegionGates]:
        weights = torch.as_tensor(self.settings.weights, dtype=torch.float32)
        if weights.ndim == 2:
            weights = padded(weights[min(start, len(weights) - 1) :][:frames], frames)
        weights = weights.reshape(-1, 1, len(REGIONS))
        masks = [mask.float().cpu().T for mask in self.portrait.masks]
        return [RegionGates(self.here(weights * mask), self.here(weights)) for mask in masks]


def _unguided(chunk: ChunkConditions) -> list[Reading]:
    return [Reading(slice(0, chunk.frames), None)]


def _guided(chunk: ChunkConditions, first: int) -> list[Reading]:
    """Conditional frames alternate between the portrait's two encodings; the last one always reads the second."""
    end = first + chunk.frames
    return [Reading(slice(first + f, end, 2), (chunk.frames + f) % 2) for f in range(min(2, chunk.frames))]


def check(config: NetConfig, portrait: Portrait, windows: Windows, settings: Settings) -> None:
    """Raise a ValueError if inputs do not fit the model or each other, before anything is computed."""
    _, height, width = portrait.picture.shape
    multiple = config.size_multiple
    if height % multiple or width % multiple or not height or not width:
        near = [max(multiple, round(side / multiple) * multiple) for side in (width, height)]
        raise ValueError(
            f"The picture is {width}x{height} pixels, but both sides must be multiples of {multiple}; try "
            f"{near[0]}x{near[1]}."
        )
    if portrait.locator.shape != portrait.picture.shape:
        raise ValueError(
            f"The face locator has the shape {tuple(portrait.locator.shape)}, but the picture "
            f"{tuple(portrait.picture.shape)}; draw it at the picture's size."
        )
    cells = [(height // LATENT_SCALE >> level) * (width // LATENT_SCALE >> level) for level in range(config.levels)]
    expected = [(len(REGIONS), n) for n in cells]
    found = [tuple(mask.shape) for mask in portrait.masks]
    if found != expected:
        raise ValueError(f"The region masks have the shapes {found}; a {width}x{height} picture needs {expected}.")
    if portrait.identity.numel() != config.face_dim:
        raise ValueError(
            f"The face identity has {portrait.identity.numel()} numbers, but this model needs {config.face_dim}; use "
            "the face recogniser that the model was trained with."
        )
    taken = (config.audio_window, config.audio_layers, config.audio_channels)
    if len(windows.shape) != 4 or tuple(windows.shape[1:]) != taken:
        raise ValueError(
            f"The speech features have the shape {tuple(windows.shape)}, but this model takes (frames, "
            f"{', '.join(map(str, taken))}): window, layers and channels of the speech encoder; use the encoder that "
            "the model was trained with."
        )
    if not len(windows):
        raise ValueError("The speech features have no frames; check that the recording is not empty.")
    frames, motion = settings.chunk_frames, settings.motion_frames
    if frames < 1 or motion < 0 or frames + motion > config.positions:
        raise ValueError(
            f"Chunks of {frames} frames with {motion} motion frames do not fit this model: it has {config.positions} "
            "positions for both together, and a chunk needs at least one frame."
        )
    if not 0 <= settings.overlap < frames:
        raise ValueError(
            f"The overlap is {settings.overlap}, but chunks have {frames} frames; choose from 0 to {frames - 1}, so "
            "that each adds at least one new frame."
        )
    _check_economies(settings)
    weights = torch.as_tensor(settings.weights)
    if weights.ndim not in (1, 2) or weights.shape[-1] != len(REGIONS) or not len(weights):
        raise ValueError(
            f"The motion weights have the shape {tuple(weights.shape)}; give three numbers ({', '.join(REGIONS)}), or "
            "rows of three, one for each frame."
        )


def _check_economies(settings: Settings) -> None:
    if settings.solver not in SOLVERS:
        raise ValueError(f"The solver {settings.solver!r} is unknown; choose one of {', '.join(SOLVERS)}.")
    start, end = settings.guidance_span
    if not 0 <= start < end <= 1:
        raise ValueError(
            f"guidance_span is ({start}, {end}); it must be two numbers from 0 to 1, the smaller first. To switch "
            "guidance off, set guidance to 1."
        )
    if settings.reuse < 1:
        raise ValueError(f"reuse is {settings.reuse}; it must be at least 1.")
