from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..joyhallo.faces.find import FaceModels
from ..joyhallo.faces.known import KnownFaces
from . import model_folders
from .autoencoder import load_vae
from .comfy_adapter import AUTO, WEIGHTS, load_model
from .inputs import checked
from .sockets import FaceAnalysis, Model, schema
from .speech_encoder import load_speech_encoder


class LoadJoyHalloModels(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "LoadJoyHalloModels",
            display_name="Load JoyHallo Models",
            description="Loads everything JoyHallo needs: the network, the speech encoder, the face models and the "
            "VAE.",
            inputs=[
                io.Combo.Input(
                    "checkpoint",
                    options=model_folders.checkpoints(),
                    tooltip="The network: net.pth of JoyHallo or Hallo, or a .safetensors made from it, in "
                    "models/joyhallo or models/diffusion_models. demo: a tiny bundled model for trying the "
                    "workflow; drawings only, not photos.",
                ),
                io.Combo.Input(
                    "audio_encoder",
                    options=model_folders.audio_encoders(),
                    tooltip="The speech encoder: chinese-wav2vec2-base for JoyHallo, wav2vec2-base-960h for Hallo, "
                    "demo for demo.",
                ),
                io.Combo.Input(
                    "face_models",
                    options=model_folders.face_models(),
                    tooltip="The models that find and recognise the face: the folder with InsightFace's models, for "
                    "non-commercial research only, and MediaPipe's face landmarker. none: MediaPipe alone; then "
                    "set identity to neutral in Face & Mask Prep, as with demo, which knows only the faces of the "
                    "example pictures.",
                ),
                io.Combo.Input(
                    "vae",
                    options=model_folders.vaes(),
                    tooltip="Decodes the network's latents into pictures: sd-vae-ft-mse, or another VAE of Stable "
                    "Diffusion 1.5; demo for demo.",
                ),
                io.Combo.Input(
                    "weight_dtype",
                    options=[AUTO, *WEIGHTS],
                    default=AUTO,
                    tooltip="Precision of the network's weights in memory. auto: let ComfyUI choose for this machine. "
                    "fp8_e4m3fn takes half the memory of fp16 and is slightly less accurate.",
                ),
                io.Boolean.Input(
                    "download",
                    default=False,
                    label_on="fetch what is missing",
                    label_off="never",
                    tooltip="Whether to download chosen files that are missing from Hugging Face into models/joyhallo, "
                    "about 6 GB in all. Where Hugging Face is blocked, start ComfyUI with the environment "
                    "variable HF_ENDPOINT set to a mirror.",
                ),
            ],
            advanced=("weight_dtype",),
            outputs=[
                Model.Output("model", display_name="model", tooltip="For JoyHallo Sampler."),
                io.AudioEncoder.Output("encoder", display_name="audio_encoder", tooltip="For Chinese Wav2Vec2 Encode."),
                FaceAnalysis.Output("faces", display_name="face_analysis", tooltip="For Face & Mask Prep."),
                io.Vae.Output("autoencoder", display_name="vae", tooltip="For JoyHallo Sampler, or any other node."),
            ],
        )

    @classmethod
    def validate_inputs(
        cls,
        checkpoint: Any = None,
        audio_encoder: Any = None,
        face_models: Any = None,
        vae: Any = None,
        weight_dtype: Any = None,
    ) -> bool:
        """Nothing is refused before the files are looked for, which finds more than is listed and says what is missing.

        Newer versions of ComfyUI do not compare inputs named in this signature with the lists.
        """
        return True

    @classmethod
    @checked
    def execute(
        cls, checkpoint: str, audio_encoder: str, face_models: str, vae: str, weight_dtype: str, download: bool
    ) -> io.NodeOutput:
        files = model_folders.find(checkpoint, audio_encoder, face_models, vae, download)
        return io.NodeOutput(
            load_model(files.checkpoint, checkpoint, weight_dtype),
            load_speech_encoder(files.audio_encoder, audio_encoder),
            _faces(files, face_models),
            load_vae(files.vae),
        )


def _faces(files: model_folders.Files, chosen: str) -> FaceModels:
    if chosen == model_folders.DEMO and files.face_models is not None:
        return KnownFaces(files.face_models)
    return FaceModels(files.face_models, files.face_task)
