"""wav2vec2 features of a recording, one row per video frame: `load_encoder` or `wrap_encoder`, then `encode`.

The convolutions of wav2vec2 give about 50 features a second. They are interpolated to the video's rate *before* the
transformer sees them, so every row has heard the whole recording.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..config import FPS, SAMPLE_RATE, check_choice, check_count, check_number
from ..files.contents import WeightsError, looks_like, settings
from ..files.fingerprint import of_module
from ..files.weights import modern_spelling, open_weights
from ..libraries import library
from ..notices import Notice
from .audio import Recording, Sound, Watch, levels, moments, unwatched, video_frames
from .origin import ENGLISH, origin

log = logging.getLogger(__name__)

WINDOW = 5  # rows that a network gets for each frame: its own and two neighbours on either side
FILLED = 16  # the original pads with silence to a multiple of so many rows before it encodes

# Rows that the transformer sees in one pass, as in the original at any length: 1.2 GB at most. With random weights,
# which attend to all there is alike, parts of this size are 5 % off one pass over ten minutes (of one minute, 12 %),
# and the step at a seam is a fifth of that between any two frames; twice or six times the context changes nothing.
WHOLE = 300 * FPS
CONTEXT = 10 * FPS  # context of a part of a longer recording, on either side
PIECE = 1000  # features (20 s) that the convolutions compute at a time; the result does not depend on it
PIECE_MEMORY = 450 << 20  # bytes that they need for it

FOLDER = (
    "the Hugging Face folder of chinese-wav2vec2-base (config.json, preprocessor_config.json, and pytorch_model.bin "
    "or model.safetensors)"
)
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
# The fields of config.json that shape the network, with the largest sizes that any encoder of this kind comes near.
MOST_LAYERS = 200
SIZES = {
    "hidden_size": 1 << 14,
    "num_hidden_layers": MOST_LAYERS,
    "num_attention_heads": 1 << 10,
    "intermediate_size": 1 << 16,
    "num_feat_extract_layers": MOST_LAYERS,
    "num_conv_pos_embeddings": 1 << 12,
    "num_conv_pos_embedding_groups": 1 << 12,
}
SIZES_OF_EACH = {"conv_dim": 1 << 14, "conv_kernel": 1 << 10, "conv_stride": 1 << 10}  # a list, by convolution
ACTIVATIONS = ("gelu", "gelu_new", "relu", "selu", "silu", "swish")
CHOICES = {
    "conv_bias": (True, False),
    "do_stable_layer_norm": (True, False),
    "hidden_act": ACTIVATIONS,
    "feat_extract_activation": ACTIVATIONS,
    "feat_extract_norm": ("group", "layer"),
}
NUMBERS = {"layer_norm_eps": (1e-12, 0.1)}
ATTENTION = "sdpa"  # PyTorch's own

# As users choose it: whether sound is brought to zero mean and unit variance; None as the encoder's files say
NORMALIZATION = {"as the encoder was trained": None, "on": True, "off": False}

PARTS = ("feature_extractor", "feature_projection", "encoder")


class SpeechError(ValueError):
    """A speech encoder, or its features, cannot be used; the message is for the user."""


# ---- the sampler's input


@dataclass(frozen=True)
class Speech:
    """Features of a recording; those of a long one are computed on demand.

    Wherever windows (rows, window, layers, channels) are sliced, a Speech can stand in for the tensor.
    """

    length: int  # video frames of the recording itself
    rows: int  # includes the silence that fills the last chunk
    layers: int
    channels: int
    samples: int
    encoder: str
    read: Callable[[int, int], Tensor]  # first and last row -> (rows, layers, channels)
    levels: Tensor = field(compare=False, repr=False)  # (rows): how loud each is, in dB of full scale
    key: str  # a digest that stays the same across runs
    sound: Sound | None = field(default=None, compare=False, repr=False)  # for the video
    fps: int = FPS
    origin: str = ""  # of the encoder, if known: see `origin`
    notices: tuple[Notice, ...] = ()  # about the recording

    def features(self, start: int = 0, stop: int | None = None) -> Tensor:
        """(rows, layers, channels)"""
        start, stop, _ = slice(start, stop).indices(self.rows)
        return self.read(start, stop) if stop > start else torch.zeros(0, self.layers, self.channels)

    def windows(self, start: int = 0, stop: int | None = None, size: int = WINDOW) -> Tensor:
        """(rows, size, layers, channels): each row between its neighbours, the ends repeated. A view, not copies."""
        start, stop, _ = slice(start, stop).indices(self.rows)
        if stop <= start:
            return torch.zeros(0, size, self.layers, self.channels)
        return surrounded(self.read, self.rows, start, stop, size)

    def check(self, layers: int, channels: int) -> None:
        """Raise a SpeechError unless these are the layers and channels of this speech."""
        _check_taken(self.encoder, (self.layers, self.channels), (layers, channels))

    @property
    def shape(self) -> torch.Size:
        return torch.Size((self.rows, WINDOW, self.layers, self.channels))

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, part: slice) -> Tensor:
        start, stop, step = part.indices(self.rows)
        return self.windows(start, stop)[::step]


def _check_taken(encoder: str, found: tuple[int, int], taken: tuple[int, int]) -> None:
    if found != taken:
        raise SpeechError(
            f"The speech features of {encoder} have {found[0]} layers of {found[1]} channels, but this model takes "
            f"{taken[0]} layers of {taken[1]}: choose the encoder that it was trained with"
            f"{' (chinese-wav2vec2-base)' if taken == (12, 768) else ''}."
        )


def surrounded(read: Callable[[int, int], Tensor], rows: int, start: int, stop: int, size: int) -> Tensor:
    """Rows from start to stop, of the `rows` that `read` knows, each between its neighbours; see Speech.windows."""
    reach = size // 2
    known = read(max(0, start - reach), min(rows, stop + reach))
    before, after = max(0, reach - start), max(0, stop + reach - rows)
    ends = known[:1].expand(before, -1, -1), known[-1:].expand(after, -1, -1)
    padded = torch.cat([ends[0], known, ends[1]]) if before or after else known
    return padded.unfold(0, size, 1).movedim(-1, 1)


# ---- encoders


def unchanged(model: nn.Module) -> nn.Module:
    return model


@dataclass(frozen=True)
class Encoder:
    """A wav2vec2 network, ComfyUI's or transformers', and how to use it."""

    model: nn.Module
    name: str
    normalize: bool  # whether it was trained on sound of zero mean and unit variance
    device: torch.device | str = "cpu"
    ready: Callable[[nn.Module], nn.Module] = unchanged  # called before each use, to load the network
    watch: Watch = unwatched  # progress of each use
    origin: str = ""  # which of the published ones it is, if known: see `origin`

    @property
    def convolutions(self) -> list[tuple[int, int]]:
        """(kernel, stride) of each."""
        layers: Any = self.model.feature_extractor
        return [(layer.conv.kernel_size[0], layer.conv.stride[0]) for layer in layers.conv_layers]

    @property
    def working_memory(self) -> int:
        """Bytes needed on its device, beside the weights, for the longest single pass in 32 bits."""
        layers, width = self._gives
        return PIECE_MEMORY + 4 * WHOLE * width * (layers + 1)

    @property
    def _gives(self) -> tuple[int, int]:
        """Layers, and channels of each."""
        model: Any = self.model
        return len(model.encoder.layers), model.feature_projection.projection.out_features

    def check(self, layers: int, channels: int) -> None:
        """The same as `Speech.check`, before anything is encoded."""
        _check_taken(self.name, self._gives, (layers, channels))


def load_encoder(
    folder: str | Path, *, normalize: bool | None = None, device: torch.device | str = "cpu", name: str | None = None
) -> Encoder:
    """Load wav2vec2 from its Hugging Face folder; `normalize` overrides the folder's setting."""
    folder = Path(folder)
    if folder.is_file() and folder.name in WEIGHTS:
        folder = folder.parent
    name = name or folder.resolve().name
    facts = settings(folder / "config.json") or {}
    if facts.get("model_type", "wav2vec2") != "wav2vec2":
        raise WeightsError(f"{name} is a {facts['model_type']!s:.60} model; expected {FOLDER}.")
    state = _encoder_weights(folder)
    model = _build(facts, state, name)
    told = _told_to_normalize(folder)
    if normalize is None:
        normalize = told
    if normalize is None:
        normalize = _kind_normalizes(name, facts)
        log.warning(
            f"{name} has no preprocessor_config.json; the sound is {'' if normalize else 'not '}normalised, as for "
            f"{'wav2vec2-base-960h' if normalize else 'chinese-wav2vec2-base'}."
        )
    return Encoder(model.to(device), name, normalize, device, origin=origin(state, facts, told))


def wrap_encoder(
    thing: Any,
    *,
    name: str = "the audio encoder",
    normalize: bool | None = None,
    device: torch.device | str | None = None,
    ready: Callable[[nn.Module], nn.Module] = unchanged,
    watch: Watch = unwatched,
) -> Encoder:
    """Wrap ComfyUI's AUDIO_ENCODER, or a wav2vec2 network of transformers, that is in memory."""
    model = getattr(thing, "model", thing)
    lacking = [part for part in PARTS if not isinstance(getattr(model, part, None), nn.Module)]
    if lacking:
        raise SpeechError(
            f"{name} is a {type(model).__name__}, which has no {', '.join(lacking)}; JoyHallo needs a wav2vec2 "
            "encoder. Load chinese-wav2vec2-base."
        )
    told: str = getattr(thing, "origin", "")
    if normalize is None:
        normalize = bool(getattr(model, "do_normalize", False)) or told == ENGLISH or _kind_normalizes(name, {})
    return Encoder(model, name, normalize, device or getattr(thing, "load_device", "cpu"), ready, watch, told)


def _encoder_weights(folder: Path) -> dict[str, Tensor]:
    if folder.is_file():
        open_weights(folder, f"{FOLDER}.")  # raises if it is not a file of weights at all
        raise WeightsError(f"{folder.name} is a single file; expected {FOLDER}.")
    path = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if path is None:
        others = sorted(file.name for file in folder.glob("*.pt")) if folder.is_dir() else []
        hint = f" {others[0]} is for fairseq and cannot be used." if others else ""
        raise WeightsError(f"{folder} holds neither {' nor '.join(WEIGHTS)}; expected {FOLDER}.{hint}")
    state, _ = open_weights(path, f"{FOLDER}.")
    state = {key.removeprefix("wav2vec2."): tensor.float() for key, tensor in modern_spelling(state).items()}
    if "feature_projection.projection.weight" not in state:
        raise WeightsError(f"{path} looks like {looks_like(state)}; expected {FOLDER}.")
    return state


def _build(facts: dict[str, Any], state: dict[str, Tensor], name: str) -> nn.Module:
    # The module itself: transformers imports it lazily, and would hide a broken helper until then.
    library("transformers.models.wav2vec2.modeling_wav2vec2", "The speech encoder")
    transformers = library("transformers", "The speech encoder")
    described = _described(facts, name)
    try:
        config = transformers.Wav2Vec2Config(**described)
        config._attn_implementation = ATTENTION
        with torch.device("meta"):
            model: nn.Module = transformers.Wav2Vec2Model(config)
    except Exception as error:  # releases of transformers raise different errors
        reason = " ".join(str(error).split())
        raise WeightsError(
            f"config.json of {name} does not describe a wav2vec2 encoder ({reason}). Download it again."
        ) from error
    shapes = {key: tensor.shape for key, tensor in model.state_dict().items()}
    if "masked_spec_embed" in shapes:  # used only in training; some files lack it
        state.setdefault("masked_spec_embed", torch.zeros(shapes["masked_spec_embed"]))
    unfit = [key for key, shape in shapes.items() if key not in state or state[key].shape != shape]
    if unfit:
        raise WeightsError(
            f"The weights of {name} do not fit its config.json: {len(unfit)} of {len(shapes)} tensors are missing or "
            f"of another size ({', '.join(unfit[:3])}{', ...' if len(unfit) > 3 else ''}). Download the folder again."
        )
    model.load_state_dict({key: state[key] for key in shapes}, strict=True, assign=True)
    return model.requires_grad_(False).eval()


def _described(facts: dict[str, Any], name: str) -> dict[str, Any]:
    """What shapes the network, and nothing else of config.json: other fields make transformers fetch and run code."""
    told = {key: facts[key] for key in (*SIZES, *SIZES_OF_EACH, *CHOICES, *NUMBERS) if key in facts}
    try:
        for key, value in told.items():
            _check(key, value)
    except ValueError as error:
        raise WeightsError(
            f"config.json of {name} does not describe a wav2vec2 encoder: {error} Download it again."
        ) from error
    return told


def _check(key: str, value: Any) -> None:
    if key in SIZES:
        check_count(key, value, SIZES[key])
    elif key in CHOICES:
        check_choice(key, value, CHOICES[key])
    elif key in NUMBERS:
        check_number(key, value, *NUMBERS[key])
    elif not isinstance(value, list) or not 1 <= len(value) <= MOST_LAYERS:
        raise ValueError(f"{key} is {value!s:.60}; expected a list of numbers, one for each convolution.")
    else:
        for size in value:
            check_count(key, size, SIZES_OF_EACH[key])


def _told_to_normalize(folder: Path) -> bool | None:
    facts = settings(folder / "preprocessor_config.json")
    if facts is None:
        return None
    rate = facts.get("sampling_rate", SAMPLE_RATE)
    if rate != SAMPLE_RATE:
        raise WeightsError(f"{folder.name} is an encoder for {rate} Hz; expected one for {SAMPLE_RATE} Hz.")
    return bool(facts.get("do_normalize", True))


def _kind_normalizes(name: str, facts: dict[str, Any]) -> bool:
    """chinese-wav2vec2-base was trained without normalisation; Facebook's recognisers and large models with it."""
    if "chinese" in name.lower():
        return False
    recogniser = "ForCTC" in str(facts.get("architectures"))
    return recogniser or "960h" in name.lower() or facts.get("feat_extract_norm") == "layer"


# ---- encoding


@torch.no_grad()
def encode(encoder: Encoder, recording: Recording, multiple: int = FILLED, sound: Sound | None = None) -> Speech:
    """Encode a recording, padded with silence to a `multiple` of rows. `sound` is passed on unchanged.

    Up to WHOLE rows are computed at once, in one pass. A longer recording is encoded on demand, in parts with CONTEXT
    around each: hours of speech need no more memory than the longest single pass.
    """
    passes = _Passes(encoder, Signal.of(recording.samples, encoder.normalize, multiple))
    first = passes.part(0)
    return Speech(
        length=recording.frames,
        rows=passes.rows,
        layers=first.shape[1],
        channels=first.shape[2],
        samples=len(recording.samples),
        encoder=encoder.name,
        read=(lambda start, stop: first[start:stop]) if passes.count == 1 else passes.read,
        levels=levels(recording.samples, passes.rows),
        key=_key(encoder, recording, multiple),
        sound=sound,
        origin=encoder.origin,
        notices=recording.notices,
    )


def layers_of(encoder: Encoder, sounds: Tensor) -> tuple[Tensor, Tensor]:
    """Encode sounds of one length, (batch, samples) of whole video frames, in one pass with gradients, for training.

    Returns the layers as `encode` gives them, (batch, rows, layers, channels), and the transformer's input, (batch,
    rows, channels).
    """
    size = sounds.shape[1]
    positions = Positions.of(Signal(sounds[0], 0.0, 1.0, video_frames(size), size), encoder.convolutions)
    inputs = positions.interpolate(_convolved(encoder.model, sounds), 0, positions.rows, 0)
    return torch.stack(list(_hidden_states(encoder.model, inputs, positions.reach)[1:]), dim=2), inputs


def _key(encoder: Encoder, recording: Recording, multiple: int) -> str:
    """A digest of everything that the features depend on."""
    facts = (encoder.name, encoder.normalize, multiple, len(recording.samples), of_module(encoder.model))
    digest = hashlib.sha256(repr(facts).encode())
    digest.update(recording.samples.detach().contiguous().numpy().data)
    return digest.hexdigest()


@dataclass(frozen=True)
class Signal:
    """The encoder's input: the samples, normalised if it needs that, then silence to fill the last chunk."""

    samples: Tensor
    mean: float
    deviation: float
    rows: int
    length: int  # samples, including the silence

    @classmethod
    def of(cls, samples: Tensor, normalize: bool, multiple: int) -> Signal:
        mean, deviation = moments(samples) if normalize else (0.0, 1.0)
        frames = video_frames(len(samples))
        filling = -frames % multiple
        length = len(samples) + filling * (SAMPLE_RATE // FPS)
        return cls(samples, mean, deviation, frames + filling, length)

    def piece(self, start: int, stop: int) -> Tensor:
        known = (self.samples[start:stop] - self.mean) / self.deviation
        return nn.functional.pad(known, (0, min(stop, self.length) - start - len(known)))


class _Passes:
    """A signal cut into as few parts of equal length as possible."""

    def __init__(self, encoder: Encoder, signal: Signal):
        self.encoder, self.signal, self.rows = encoder, signal, signal.rows
        self.positions = Positions.of(signal, encoder.convolutions)
        self.count = 1 if signal.rows <= WHOLE else math.ceil(signal.rows / (WHOLE - 2 * CONTEXT))
        self.size = math.ceil(signal.rows / self.count)
        self.held: dict[int, Tensor] = {}
        self.statistics: Statistics | None = None

    def read(self, start: int, stop: int) -> Tensor:
        parts = []
        for index in range(start // self.size, math.ceil(stop / self.size)):
            first = index * self.size
            parts.append(self.part(index)[max(0, start - first) : stop - first])
        return torch.cat(parts) if len(parts) != 1 else parts[0]

    def part(self, index: int) -> Tensor:
        """Rows of one part. The last two parts are kept, as a window may reach across a seam; not by functools' cache,
        whose reference to this object would keep the encoder in memory."""
        if index not in self.held:
            while len(self.held) > 1:
                del self.held[next(iter(self.held))]
            self.held[index] = self._part(index)
        return self.held[index]

    @torch.no_grad()
    def _part(self, index: int) -> Tensor:
        model = self.encoder.ready(self.encoder.model)
        start, stop = index * self.size, min(self.rows, (index + 1) * self.size)
        first, last = (0, self.rows) if self.count == 1 else (max(0, start - CONTEXT), min(self.rows, stop + CONTEXT))
        inputs = self.inputs(model, first, last)
        with _layers_watched(model, self.encoder.watch):
            states = _hidden_states(model, inputs, self.positions.reach)[1:]
        rows = torch.empty(stop - start, len(states), states[0].shape[-1])
        for layer, state in enumerate(states):
            rows[:, layer] = state[0, start - first : stop - first]
        if not torch.isfinite(rows).all():
            raise SpeechError(
                f"{self.encoder.name} gave features that are not numbers (NaN or infinite). Its weights are damaged, "
                "or its precision is too low: load it in 32 bits."
            )
        return rows

    def inputs(self, model: Any, first: int, last: int) -> Tensor:
        """The transformer's input for these rows, (1, rows, channels): the same however the signal is cut."""
        if self.statistics is None and self.positions.features > PIECE:
            self.statistics = Statistics.of(self.encoder, self.signal)
        low, high = self.positions.around(first, last)
        pieces = []
        with _normed_as_a_whole(model, self.statistics):
            for at in range(low, high, PIECE):
                self.encoder.watch(0.5 * (at - low) / (high - low))
                pieces.append(self._features(model, at, min(high, at + PIECE)))
        return self.positions.interpolate(torch.cat(pieces, dim=1), first, last, low)

    def _features(self, model: Any, low: int, high: int) -> Tensor:
        """(1, features, channels)"""
        stride, reach = self.positions.stride, self.positions.reach
        # the last convolution drops an incomplete window, but the normalisation after the first includes its samples
        stop = self.signal.length if high == self.positions.features else (high - 1) * stride + reach
        return _convolved(model, self.signal.piece(low * stride, stop).to(self.encoder.device)[None])


@dataclass(frozen=True)
class Positions:
    """Positions of the video's rows among the features of the whole recording: first on first, last on last."""

    rows: int
    features: int
    stride: int  # samples from one feature to the next
    reach: int  # samples that one feature hears

    @classmethod
    def of(cls, signal: Signal, convolutions: Sequence[tuple[int, int]]) -> Positions:
        count, stride, reach = signal.length, 1, 1
        for kernel, step in convolutions:
            count = (count - kernel) // step + 1
            stride, reach = stride * step, reach + (kernel - 1) * stride
        if count < 1:
            raise SpeechError(
                f"The recording has {signal.length} samples at {SAMPLE_RATE} Hz, fewer than the {reach} that the "
                "encoder needs; choose a longer one."
            )
        return cls(signal.rows, count, stride, reach)

    def at(self, first: int, last: int) -> Tensor:
        """Positions in single precision, like torch's own interpolation with align_corners."""
        scale = torch.tensor((self.features - 1) / max(1, self.rows - 1), dtype=torch.float32)
        return torch.arange(first, last, dtype=torch.float32) * scale

    def around(self, first: int, last: int) -> tuple[int, int]:
        """The features, from and to, between which these rows lie."""
        low, high = (int(position) for position in self.at(first, last)[[0, -1]])
        return low, min(high + 2, self.features)

    def interpolate(self, features: Tensor, first: int, last: int, feature: int) -> Tensor:
        """features (1, features, channels), the first of them number `feature` -> (1, rows, channels)"""
        at = self.at(first, last)
        low = at.long().clamp(max=self.features - 1)
        share = (at - low).to(features)[:, None]
        high = (low + 1).clamp(max=self.features - 1)
        low, high = (low - feature).to(features.device), (high - feature).to(features.device)
        return features[:, low] * (1 - share) + features[:, high] * share


def _convolved(model: Any, sounds: Tensor) -> Tensor:
    """(batch, samples) -> (batch, features, channels)"""
    features = model.feature_extractor(sounds)
    return features.transpose(1, 2) if _of_transformers(model) else features


def _of_transformers(model: nn.Module) -> bool:
    return hasattr(model, "config")


def _hidden_states(model: Any, rows: Tensor, reach: int) -> Sequence[Tensor]:
    """The input of the transformer's first layer and the output of each, (batch, rows, channels).

    Calls the whole network, as only that returns all layers in every release of transformers: on the shortest
    possible sound, while a hook hands its projection the rows instead.
    """
    nothing = rows.new_zeros(1, reach)
    with _projection_of(model, rows):
        if _of_transformers(model):
            return model(nothing, output_hidden_states=True, return_dict=True).hidden_states
        return model(nothing[None])[1]  # ComfyUI: (batch, channels, samples) -> last layer, all layers


@contextmanager
def _layers_watched(model: Any, watch: Watch) -> Iterator[None]:
    """Report the second half of a use's progress, as each layer begins."""
    layers, begun = model.encoder.layers, count()

    def tell(*_: Any) -> None:
        watch(0.5 + 0.5 * next(begun) / len(layers))

    handles = [layer.register_forward_pre_hook(tell) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _projection_of(model: Any, rows: Tensor) -> Iterator[None]:
    handle = model.feature_projection.register_forward_pre_hook(lambda _, inputs: (rows, *inputs[1:]))
    try:
        yield
    finally:
        handle.remove()


@dataclass(frozen=True)
class Statistics:
    """Moments, per channel and over the whole signal, of the first normalisation's input.

    The base model normalises over all time, so a piece by itself would come out as loud as any other.
    """

    mean: Tensor
    variance: Tensor

    @classmethod
    def of(cls, encoder: Encoder, signal: Signal) -> Statistics | None:
        extractor: Any = encoder.model.feature_extractor
        layer = extractor.conv_layers[0]
        if not isinstance(layer.layer_norm, nn.GroupNorm):
            return None
        (kernel, stride), count, total, squares = encoder.convolutions[0], 0, 0.0, 0.0
        step = PIECE * math.prod(stride for _, stride in encoder.convolutions)
        for start in range(0, signal.length - kernel + 1, step):
            encoder.watch(0.0)
            sound = signal.piece(start, start + step + kernel - stride)
            values = layer.conv(sound.to(encoder.device)[None, None])[0].float()
            variance, mean = (moment.cpu().double() for moment in torch.var_mean(values, dim=1, correction=0))
            size = values.shape[1]
            count, total, squares = count + size, total + mean * size, squares + (variance + mean**2) * size
        mean = torch.as_tensor(total / count)
        return cls(mean.float(), (torch.as_tensor(squares / count) - mean**2).clamp(min=0).float())

    def normed(self, x: Tensor, norm: nn.GroupNorm) -> Tensor:
        scale = norm.weight.to(x) * (self.variance + norm.eps).rsqrt().to(x)
        return (x - self.mean.to(x)[:, None]).mul_(scale[:, None]).add_(norm.bias.to(x)[:, None])


@contextmanager
def _normed_as_a_whole(model: Any, statistics: Statistics | None) -> Iterator[None]:
    if statistics is None:
        yield
        return
    norm = model.feature_extractor.conv_layers[0].layer_norm
    handle = norm.register_forward_hook(lambda norm, inputs, _: statistics.normed(inputs[0], norm))
    try:
        yield
    finally:
        handle.remove()
