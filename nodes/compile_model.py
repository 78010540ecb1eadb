from __future__ import annotations

from comfy_api.latest import io

from .comfy_adapter import JoyHalloModel
from .inputs import checked
from .preview import tell
from .sockets import Model, schema


class JoyHalloCompile(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "JoyHalloCompile",
            display_name="Compile Model",
            description="Lets PyTorch compile the network's blocks for your machine, which pays in long videos. The "
            "first steps take minutes longer.",
            inputs=[Model.Input("model", tooltip="From Load JoyHallo Models.")],
            outputs=[
                Model.Output(
                    "compiled_model",
                    display_name="model",
                    tooltip="For JoyHallo Sampler. Videos differ from those without this node by rounding alone.",
                )
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    @checked
    def execute(cls, model: JoyHalloModel) -> io.NodeOutput:
        compiled = model.compiling()
        tell(
            "The network is compiled as it runs: the first steps of a size take minutes longer.",
            cls.hidden and cls.hidden.unique_id,
        )
        return io.NodeOutput(compiled)
