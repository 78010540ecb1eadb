from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import comfy.model_management
import comfy.utils
from comfy_api.latest import io
from torch import nn

from ..joyhallo.config import SAMPLE_RATE
from ..joyhallo.sound.audio import as_channels, checked_rate
from ..joyhallo.sound.loudness import LOUDNESS, levelled
from ..joyhallo.sound.vocals import hear
from ..joyhallo.sound.wav2vec2 import NORMALIZATION, Encoder, SpeechError, encode, wrap_encoder
from .comfy_adapter import fills_layers_itself
from .inputs import checked
from .model_folders import separator
from .preview import Pace, lasting, listed, stop, tell
from .sockets import Speech, chosen, schema
from .video import sound_of

SEPARATION = {mode: mode for mode in ("auto", "on", "off")}
WORTH_TELLING = 5  # seconds that a task will still take
PAUSE = 2  # seconds from one estimate to the next


class ChineseWav2Vec2Encode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "ChineseWav2Vec2Encode",
            display_name="Chinese Wav2Vec2 Encode",
            description="Turns speech into features for the model: one set for each of the 25 frames in a second.",
            inputs=[
                io.AudioEncoder.Input(
                    "audio_encoder",
                    tooltip="From Load JoyHallo Models or ComfyUI's Load Audio Encoder: the encoder the model was "
                    "trained with, which for JoyHallo is chinese-wav2vec2-base.",
                ),
                io.Audio.Input(
                    "audio",
                    tooltip="Speech in any language, at any sample rate, mono or stereo. It sets the length of the "
                    "video.",
                ),
                io.Combo.Input(
                    "separate_vocals",
                    options=list(SEPARATION),
                    default="auto",
                    tooltip="Whether to separate the voice from music and noise before encoding; the saved video keeps "
                    "the full sound. auto: if there seems to be music and Kim_Vocal_2.onnx is in "
                    "models/joyhallo/audio_separator. Use off for clean recordings.",
                ),
                io.Combo.Input(
                    "loudness",
                    options=list(LOUDNESS),
                    default="as recorded",
                    tooltip="as recorded: no change. levelled: brings a quiet recording to broadcast level for the "
                    "encoder, so that the lips move more. The saved video keeps its loudness.",
                ),
                io.Combo.Input(
                    "normalize",
                    options=list(NORMALIZATION),
                    default="as the encoder was trained",
                    tooltip="Leave this at as the encoder was trained. Use on for a wav2vec2-base-960h from ComfyUI's "
                    "Load Audio Encoder, which cannot tell the encoders apart; chinese-wav2vec2-base was trained "
                    "with it off.",
                ),
            ],
            advanced=("normalize",),
            outputs=[
                Speech.Output("speech", display_name="speech", tooltip="For JoyHallo Sampler."),
                io.Audio.Output(
                    "vocals",
                    display_name="vocals",
                    tooltip="The sound that the encoder received, for checking by ear: one channel at 16 kHz.",
                ),
                io.Int.Output(
                    "frame_count",
                    display_name="frame_count",
                    tooltip="The number of frames the video will have: 25 for each second of sound.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def fingerprint_inputs(cls, separate_vocals: str | None = None, **others: Any) -> str:
        """Encode again when a separator has been installed since."""
        return "" if separate_vocals == "off" else str(separator())

    @classmethod
    @checked
    def execute(
        cls, audio_encoder: Any, audio: Any, separate_vocals: str, loudness: str, normalize: str
    ) -> io.NodeOutput:
        mode = chosen(SEPARATION, separate_vocals, "separate_vocals")
        level, normalized = chosen(LOUDNESS, loudness, "loudness"), chosen(NORMALIZATION, normalize, "normalize")
        waveform, rate = sound_of(audio)
        progress = Progress(cls.hidden and cls.hidden.unique_id)
        encoder = _encoder(audio_encoder, normalized, progress)
        recording = hear(waveform, rate, mode, None if mode == "off" else separator(), progress.separating, stop)
        if level:
            recording = levelled(recording)
        speech = encode(encoder, recording, sound=(as_channels(waveform), checked_rate(rate)))
        progress.finish()
        vocals = {"waveform": recording.samples[None, None], "sample_rate": SAMPLE_RATE}
        return io.NodeOutput(speech, vocals, speech.length, ui=listed(speech.notices))


class Progress:
    """The progress bar, and the time left: separation, if any, then encoding.

    Later parts of long speech are encoded while the sampler works, and leave bar and words to it.
    """

    def __init__(self, node: str | None = None) -> None:
        self.bar = comfy.utils.ProgressBar(100)
        self.node, self.begun, self.told = node, time.monotonic(), -math.inf
        self.separation, self.encoding_pace = Pace(), Pace()
        self.separated = 0.0
        self.finished = False

    def separating(self, done: float) -> None:
        self.separated = 50.0
        self._show(50 * done)
        self._tell("Separating the voice", self.separation, done)

    def encoding(self, done: float) -> None:
        self._show(self.separated + (100 - self.separated) * done)
        self._tell("Encoding", self.encoding_pace, done)

    def finish(self) -> None:
        self._show(100)
        self.finished = True
        if self.told > self.begun:
            tell(f"Encoded in {lasting(time.monotonic() - self.begun)}.", self.node)

    def _show(self, percent: float) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        if not self.finished:
            self.bar.update_absolute(round(percent))

    def _tell(self, task: str, pace: Pace, done: float) -> None:
        pace.count(done, 1.0)
        now, left = time.monotonic(), pace.left()
        if left and left > WORTH_TELLING and now > self.told + PAUSE and not self.finished:
            tell(f"{task}: about {lasting(left)} left.", self.node)
            self.told = now


def _encoder(thing: Any, normalize: bool | None, progress: Progress) -> Encoder:
    """Wrap our own or ComfyUI's encoder, which ComfyUI loads for each use."""
    if not (hasattr(thing, "model") and hasattr(thing, "patcher")):
        raise SpeechError(
            f"`audio_encoder` is a {type(thing).__name__}; connect Load JoyHallo Models or Load Audio Encoder to it."
        )

    encoder = wrap_encoder(
        thing,
        name=getattr(thing, "name", "the audio encoder"),
        normalize=getattr(thing, "normalize", None) if normalize is None else normalize,
        watch=progress.encoding,
    )
    needed, device = encoder.working_memory, encoder.device

    def ready(model: nn.Module) -> nn.Module:
        # In full, as not all of its layers are ComfyUI's, which can be loaded in part; --novram needs the extra move.
        comfy.model_management.load_models_gpu([thing.patcher], memory_required=needed, force_full_load=True)
        return model if fills_layers_itself(thing.patcher) else model.to(device)

    # Set last to avoid a reference cycle that would keep the network alive.
    return replace(encoder, ready=ready)
