from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..joyhallo.config import FPS, GUIDANCE, SAMPLING_STEPS
from ..joyhallo.framing import MULTIPLE, paste
from ..joyhallo.portrait import Prepared
from ..joyhallo.sampling import Settings, animate
from ..joyhallo.schedule import Schedule
from ..joyhallo.speech import Speech
from .autoencoder import ComfyCodec, check_vae
from .comfy_adapter import JoyHalloModel
from .preview import Preview
from .sockets import CATEGORY, Face, Model, chosen, expect
from .sockets import Speech as SpeechSocket

PICTURES = {"whole picture": True, "square": False}  # whether the frames are put back


class JoyHalloSampler(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="JoyHalloSampler",
            display_name="JoyHallo Sampler",
            category=CATEGORY,
            description="Makes the portrait speak: denoises the video chunk by chunk, 25 frames for a second of sound.",
            inputs=[
                Model.Input("model", tooltip="From Load JoyHallo Models."),
                io.Vae.Input("vae", tooltip="A VAE of Stable Diffusion 1.5: sd-vae-ft-mse is what the model expects."),
                Face.Input("face", tooltip="From Face & Mask Prep."),
                SpeechSocket.Input("speech", tooltip="From Chinese Wav2Vec2 Encode: its length is the video's length."),
                io.Int.Input(
                    "seed",
                    default=42,
                    min=0,
                    max=0xFFFF_FFFF_FFFF_FFFF,
                    control_after_generate=True,
                    tooltip="Another number gives other head movements and blinks; the same number the same video.",
                ),
                io.Int.Input(
                    "steps",
                    default=SAMPLING_STEPS,
                    min=1,
                    max=200,
                    tooltip="Denoising steps for each chunk of 16 frames; 40 as the original, 15 in 3/8 of the time.",
                ),
                io.Float.Input(
                    "cfg",
                    default=GUIDANCE,
                    min=1.0,
                    max=20.0,
                    step=0.1,
                    tooltip="How closely portrait and speech are followed. 1 takes half the time, with weaker lips.",
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
                    tooltip="Side of the square that is generated, a multiple of 64. The model was trained at 512; "
                    "256 is a quick draft.",
                ),
                io.Combo.Input(
                    "picture",
                    options=list(PICTURES),
                    default="whole picture",
                    tooltip="whole picture: the square is put back where it came from, at the picture's own size. "
                    "square: the generated frames alone.",
                ),
                _region("pose_mask", "pose"),
                _region("expression_mask", "expression"),
                _region("lip_mask", "lip"),
            ],
            outputs=[
                io.Image.Output("frames", display_name="frames", tooltip="The video's frames."),
                io.Float.Output("fps", display_name="fps", tooltip="Frames per second: 25."),
            ],
        )

    @classmethod
    def validate_inputs(cls, size: Any) -> bool | str:
        """Named here, `size` is checked by nobody else."""
        if isinstance(size, int) and not MULTIPLE <= size <= 2048:
            return f"The size {size} is out of range; choose a multiple of {MULTIPLE} from {MULTIPLE} to 2048."
        if isinstance(size, int) and size % MULTIPLE:
            return f"The size {size} is no multiple of {MULTIPLE}; choose {round(size / MULTIPLE) * MULTIPLE}, say."
        return True

    @classmethod
    def execute(
        cls,
        model: JoyHalloModel,
        vae: Any,
        face: Prepared,
        speech: Speech,
        seed: int,
        steps: int,
        cfg: float,
        pose_weight: float,
        expression_weight: float,
        lip_weight: float,
        size: int,
        picture: str,
        pose_mask: Tensor | None = None,
        expression_mask: Tensor | None = None,
        lip_mask: Tensor | None = None,
    ) -> io.NodeOutput:
        expect(model, JoyHalloModel, "model", "Load JoyHallo Models")
        expect(face, Prepared, "face", "Face & Mask Prep")
        expect(speech, Speech, "speech", "Chinese Wav2Vec2 Encode")
        check_vae(vae, model.config)
        speech.check(model.config.net)
        face = face.at((size, size), pose=pose_mask, expression=expression_mask, lip=lip_mask)
        settings = Settings(steps, cfg, seed, (pose_weight, expression_weight, lip_weight))
        whole = chosen(PICTURES, picture, "picture")
        return io.NodeOutput(_filmed(model, vae, face, speech, settings, whole), float(FPS))


def _filmed(model: JoyHalloModel, vae: Any, face: Prepared, speech: Speech, settings: Settings, whole: bool) -> Tensor:
    """(frames, height, width, 3)"""
    portrait, size = face.portrait, face.frame.size[0]
    preview = Preview(portrait.picture, model.config.net.latent_channels, model.device)
    frames: Tensor | None = None
    for chunk in animate(
        model.net,
        ComfyCodec(vae, model.config),
        Schedule(model.config.schedule),
        portrait,
        speech,
        settings,
        length=speech.length,
        device=model.device,
        dtype=model.precision.compute,
        ready=model.loader(settings, size),
        on_step=preview.after_step,
    ):
        preview.finished = chunk.frames
        shown = (paste(chunk.frames, face.picture, face.frame) if whole else chunk.frames).movedim(1, -1)
        if frames is None:  # made once: a list of chunks would be held twice when they are joined
            frames = shown.new_empty(speech.length, *shown.shape[1:])
        frames[chunk.start : chunk.start + len(shown)] = shown
    assert frames is not None
    return frames


def _weight(name: str, effect: str) -> io.Float.Input:
    return io.Float.Input(
        name,
        default=1.0,
        min=0.0,
        max=3.0,
        step=0.05,
        tooltip=f"How strongly {effect}: 0 not at all, 1 as trained, more exaggerates.",
    )


def _region(name: str, region: str) -> io.Mask.Input:
    return io.Mask.Input(
        name,
        optional=True,
        tooltip=f"Where the {region} weight acts, over the square: connect the {region} mask of Face & Mask Prep after "
        "editing it. Left open, the mask is used as it was found.",
    )
