from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..joyhallo.methods import METHODS
from . import model_folders
from .comfy_adapter import AUTO, WEIGHTS, load_redub_model
from .inputs import checked
from .preview import tell
from .redub_parts import load_part, of_vae
from .sockets import Redub, schema

VERSIONS = sorted({version for method in METHODS for version in method.versions})


class LoadRedubModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "LoadRedubModel",
            display_name="Load Redub Model",
            description="Loads a network that makes the lips of a video follow another recording: LatentSync, "
            "MuseTalk, Ultralight of one person, or Wav2Lip, whose files may be used for research and personal "
            "purposes only.",
            inputs=[
                io.Combo.Input(
                    "model",
                    options=model_folders.redub_models(),
                    tooltip="A file in models/joyhallo, or in models/wav2lip, latentsync, musetalk or ultralight, told "
                    "by what is in it. latentsync_unet.pt makes the largest faces and takes longest, MuseTalk's "
                    "unet.pth is in between, wav2lip_gan.pth is the fastest, with small faces. Wav2Lip's licence: "
                    "research and personal use only.",
                ),
                io.Combo.Input(
                    "weight_dtype",
                    options=[AUTO, *WEIGHTS],
                    default=AUTO,
                    tooltip="Precision of the network's weights in memory. auto: let ComfyUI choose for this machine.",
                ),
                io.Boolean.Input(
                    "download",
                    default=False,
                    label_on="fetch what is missing",
                    label_off="never",
                    tooltip="Whether to download the chosen file if it is missing, and what it works with, from "
                    "Hugging Face: 0.4 GB for Wav2Lip, from a copy that others keep, 4 GB for MuseTalk, 6 GB for "
                    "LatentSync, 1.3 GB to hear for Ultralight. Where Hugging Face is blocked, start ComfyUI with the "
                    "environment variable HF_ENDPOINT set to a mirror.",
                ),
                io.Combo.Input(
                    "version",
                    options=[AUTO, *VERSIONS],
                    default=AUTO,
                    optional=True,
                    tooltip="Of LatentSync and MuseTalk, whose files do not say it: LatentSync 1.5 works at 256 "
                    "pixels, 1.6 at 512; MuseTalk 1.5 or 1.0. auto: by the name of the file and its folder, or the "
                    "newest. Others have none.",
                ),
                io.Vae.Input(
                    "vae",
                    optional=True,
                    tooltip="For LatentSync and MuseTalk: sd-vae-ft-mse, or another VAE of Stable Diffusion 1.5. If "
                    "not connected, the file in models/joyhallo or models/vae is taken.",
                ),
            ],
            advanced=("weight_dtype", "version"),
            outputs=[Redub.Output("redub_model", display_name="redub_model", tooltip="For Redub Lips.")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, model: Any = None, weight_dtype: Any = None) -> bool:
        """Nothing is refused before the file is looked for, which says what is missing and where it was searched."""
        return True

    @classmethod
    @checked
    def execute(
        cls, model: str, weight_dtype: str, download: bool, version: str = AUTO, vae: Any = None
    ) -> io.NodeOutput:
        given = {} if vae is None else {"vae": of_vae(vae)}
        path, others = model_folders.find_to_redub(model, download, given)
        parts = given | {word: load_part(word, place) for word, place in others.items()}
        asked = "" if version == AUTO else version
        loaded = load_redub_model(path, model, weight_dtype, parts, asked)
        node = cls.hidden and cls.hidden.unique_id
        tell(f"{loaded.title}, {loaded.precision}. Licence: {loaded.method.licence}.", node)
        return io.NodeOutput(loaded)
