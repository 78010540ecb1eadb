from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ..joyhallo.faces.crops import MULTIPLE
from ..joyhallo.methods.hallo import doubts
from ..joyhallo.methods.hallo.config import GUIDANCE
from ..joyhallo.methods.hallo.motion import curve
from ..joyhallo.methods.hallo.portrait import Prepared
from ..joyhallo.methods.hallo.presets import PRESETS
from ..joyhallo.methods.hallo.steadiness import Steadiness
from ..joyhallo.sound.wav2vec2 import Speech
from . import report
from .autoencoder import check_vae, latent_format
from .comfy_adapter import JoyHalloModel
from .inputs import checked
from .model_folders import DEMO
from .preview import Preview, listed, shown
from .sockets import Face, Model, OverTime, Steady, chosen, schema
from .sockets import Speech as SpeechSocket
from .take import Take

log = logging.getLogger(__name__)

PICTURES = {"whole picture": True, "square": False}  # whether to paste the frames back


class JoyHalloSampler(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "JoyHalloSampler",
            display_name="JoyHallo Sampler",
            description="Animates the portrait to the speech: denoises the video chunk by chunk, at 25 frames a "
            "second.",
            inputs=[
                Model.Input("model", tooltip="From Load JoyHallo Models."),
                io.Vae.Input("vae", tooltip="A VAE of Stable Diffusion 1.5: the model expects sd-vae-ft-mse."),
                Face.Input("face", tooltip="From Face & Mask Prep."),
                SpeechSocket.Input("speech", tooltip="From Chinese Wav2Vec2 Encode: it sets the length of the video."),
                io.Int.Input(
                    "seed",
                    default=42,
                    min=0,
                    max=0xFFFF_FFFF_FFFF_FFFF,
                    control_after_generate=True,
                    tooltip="A different number gives different head movements and blinks; the same number gives the "
                    "same video.",
                ),
                io.Combo.Input(
                    "preset",
                    options=list(PRESETS),
                    default="exact",
                    tooltip="Trades faithfulness to the original for speed. exact: the original's 40 steps and "
                    "settings. balanced, fast and draft take about 1/2, 1/3 and 1/6 of the time, with a solver that "
                    "needs fewer steps.",
                ),
                io.Int.Input(
                    "steps",
                    default=0,
                    min=0,
                    max=200,
                    tooltip="Denoising steps for each chunk of 16 frames. 0: the preset's own number, "
                    f"{_listed({name: preset.steps for name, preset in PRESETS.items()})}.",
                ),
                io.Float.Input(
                    "cfg",
                    default=GUIDANCE,
                    min=1.0,
                    max=20.0,
                    step=0.1,
                    tooltip="How closely to follow portrait and speech; the original uses 3.5. 1 takes half the time, "
                    "with weaker lip movement.",
                ),
                _weight("pose_weight", "the head moves with the speech"),
                _weight("expression_weight", "brows, eyes and cheeks move with the speech"),
                _weight("lip_weight", "the lips move with the speech"),
                io.Int.Input(
                    "size",
                    default=512,
                    min=MULTIPLE,
                    max=2048,
                    step=MULTIPLE,
                    tooltip="Side of the square that is generated, a multiple of 64. JoyHallo and Hallo were trained "
                    "at 512, of which 256 is a quick draft; demo was trained at 128.",
                ),
                io.Combo.Input(
                    "picture",
                    options=list(PICTURES),
                    default="whole picture",
                    tooltip="whole picture: puts the square back in its place, at the picture's own size. square: the "
                    "generated frames alone.",
                ),
                io.Boolean.Input(
                    "resume",
                    default=True,
                    label_on="go on after a stop",
                    label_off="begin anew",
                    tooltip="Keeps finished chunks on disk for two weeks, 8 GB at most. After a cancel, a crash or a "
                    "power cut the same workflow with the same seed resumes from the last one: keep the control "
                    "below seed at fixed. begin anew: nothing is kept or reused.",
                ),
                Steady.Input(
                    "steadiness",
                    optional=True,
                    tooltip="From Steadiness, for long videos. If not connected, chunks follow each other as in the "
                    "original.",
                ),
                io.Video.Input(
                    "background",
                    optional=True,
                    tooltip="For two people in one picture: the other person's video, made from the same picture. The "
                    "square is pasted into its frames.",
                ),
                _region("pose_mask", "pose"),
                _region("expression_mask", "expression"),
                _region("lip_mask", "lip"),
            ],
            outputs=[
                io.Video.Output(
                    "video",
                    display_name="video",
                    tooltip="For Save Talking Video, with the speech as its sound. It stays in a file, however long it "
                    "is; Get Video Components turns it into images, for an upscaler, say.",
                ),
                io.String.Output(
                    "report",
                    display_name="report",
                    tooltip="How the video was made, how fast, and how steady it is: connect Preview as Text, and "
                    "include it when you ask for help.",
                ),
                io.Image.Output(
                    "drift",
                    display_name="drift",
                    tooltip="A plot of how far colour, contrast, sharpness and face drift from the first chunk, and "
                    "how visible the joints between chunks are.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
            newer={
                "has_intermediate_output": True,  # the plot of the drift is there again after the page is loaded anew
                "essentials_category": "Video Tools",
            },
        )

    @classmethod
    def validate_inputs(cls, size: Any = None) -> bool | str:
        """Check `size` here: ComfyUI leaves inputs named in this signature to us, missing ones too."""
        if isinstance(size, int) and not MULTIPLE <= size <= 2048:
            return f"The size {size} is out of range; choose a multiple of {MULTIPLE} from {MULTIPLE} to 2048."
        if isinstance(size, int) and size % MULTIPLE:
            return f"The size {size} is not a multiple of {MULTIPLE}; try {round(size / MULTIPLE) * MULTIPLE}."
        return True

    @classmethod
    @checked
    def execute(
        cls,
        model: JoyHalloModel,
        vae: Any,
        face: Prepared,
        speech: Speech,
        seed: int,
        preset: str,
        steps: int,
        cfg: float,
        pose_weight: float | Sequence[float],
        expression_weight: float | Sequence[float],
        lip_weight: float | Sequence[float],
        size: int,
        picture: str,
        resume: bool,
        steadiness: Steadiness | None = None,
        background: Any = None,
        pose_mask: Tensor | None = None,
        expression_mask: Tensor | None = None,
        lip_mask: Tensor | None = None,
    ) -> io.NodeOutput:
        # Everything that can be checked comes before the networks are loaded: a late error costs minutes.
        steadiness = steadiness or Steadiness()
        check_vae(vae, model.config)
        speech.check(model.config.net.audio_layers, model.config.net.audio_channels)
        before = (*speech.notices, *face.notices)
        face = face.at((size, size), pose=pose_mask, expression=expression_mask, lip=lip_mask)
        found = list(doubts.of_run(model.config.net, speech, size))
        if model.name == DEMO:
            found += doubts.of_small_model(size, cfg)
        notices = (*speech.notices, *face.notices, *found)
        weights = _weights(speech.length, pose_weight, expression_weight, lip_weight)
        settings = chosen(PRESETS, preset, "preset").settings(
            steps, guidance=cfg, seed=seed, weights=weights, overlap=steadiness.overlap
        )
        whole = chosen(PICTURES, picture, "picture")
        take = Take(model, vae, face, speech, settings, steadiness, whole, background, resume)
        preview = Preview(face.portrait.picture, latent_format(vae), model.device, cls.hidden and cls.hidden.unique_id)
        report.begin_hashing(model)  # in the background: done by the time the report needs it
        used = report.used(take, preset)
        log.info("Making a video:\n%s", used)  # before the work, so that the log of a crash has it
        made, drift = take.shoot(preview)
        facts = [used, report.hashed(model), made.plan, made.pace(), drift.summary(), *report.warnings(notices)]
        plot = drift.plot()
        ui = listed(notice for notice in notices if notice not in before)  # the others are on the nodes before
        if len(drift.chunks) > 1:
            ui["joyhallo_drift"] = [shown(plot, "drift")]
        return io.NodeOutput(made.video, report.shown(facts), torch.from_numpy(plot)[None].float() / 255, ui=ui)


def _listed(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{number} for {name}" for name, number in numbers.items())


def _weights(length: int, *given: float | Sequence[float]) -> Sequence[float] | Tensor:
    """Three numbers, or a row of three for each frame."""
    numbers = [weight for weight in given if isinstance(weight, int | float)]
    return numbers if len(numbers) == len(given) else torch.stack([curve(weight, length) for weight in given], dim=-1)


def _weight(name: str, effect: str) -> OverTime:
    return OverTime(
        name,
        default=1.0,
        min=0.0,
        max=3.0,
        step=0.05,
        tooltip=f"How strongly {effect}: 0 not at all, 1 as trained, more exaggerates. Also takes a list with a number "
        "for each frame: see Motion over Time.",
    )


def _region(name: str, region: str) -> io.Mask.Input:
    return io.Mask.Input(
        name,
        optional=True,
        tooltip=f"Where in the square the {region} weight acts: connect the {region} mask of Face & Mask Prep after "
        "editing it. If not connected, the detected mask is used.",
    )
