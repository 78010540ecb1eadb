from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from . import model_folders
from .comfy_adapter import AUTO, WEIGHTS, load_redub_model
from .inputs import checked
from .preview import tell
from .sockets import Redub, schema


class LoadRedubModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "LoadRedubModel",
            display_name="Load Redub Model",
            description="Loads a network that makes the lips of a video follow another recording. Wav2Lip's files may "
            "be used for research and personal purposes only.",
            inputs=[
                io.Combo.Input(
                    "model",
                    options=model_folders.redub_models(),
                    tooltip="A file in models/joyhallo or models/wav2lip, told by what is in it: wav2lip_gan.pth is "
                    "sharper, wav2lip.pth follows the speech a little better, wav2lip256.pth makes larger faces. "
                    "Licence of all of them: research and personal use only, no commercial use.",
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
                    tooltip="Whether to download the chosen file if it is missing, 436 MB, from a copy on Hugging Face "
                    "that others keep: Wav2Lip's authors publish it where only a browser gets it. Where Hugging Face "
                    "is blocked, start ComfyUI with the environment variable HF_ENDPOINT set to a mirror.",
                ),
            ],
            advanced=("weight_dtype",),
            outputs=[Redub.Output("redub_model", display_name="redub_model", tooltip="For Redub Lips.")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, model: Any = None, weight_dtype: Any = None) -> bool:
        """Nothing is refused before the file is looked for, which says what is missing and where it was searched."""
        return True

    @classmethod
    @checked
    def execute(cls, model: str, weight_dtype: str, download: bool) -> io.NodeOutput:
        loaded = load_redub_model(model_folders.find_redub_model(model, download), model, weight_dtype)
        tell(f"{loaded.method.name}, {loaded.precision}. Licence: {loaded.method.licence}.", cls.hidden.unique_id)
        return io.NodeOutput(loaded)
