"""Adapters that run the engine with ComfyUI's layers, attention, memory management and precision."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.model_patcher
import comfy.ops
import torch
from comfy.ldm.modules.attention import attention_pytorch, optimized_attention
from torch import Tensor, nn

from ..joyhallo.diffusion.networks.blocks import Part as Running
from ..joyhallo.diffusion.networks.blocks import at_once
from ..joyhallo.diffusion.networks.compiled import INDUCTOR, Compiled, check
from ..joyhallo.files.fingerprint import of_module
from ..joyhallo.methods import Method, method_of
from ..joyhallo.methods.hallo.checkpoint import NETWORKS, Model
from ..joyhallo.methods.hallo.config import ModelConfig
from ..joyhallo.methods.hallo.memory import working_memory
from ..joyhallo.methods.hallo.networks.net import Net
from ..joyhallo.methods.hallo.sampling import Settings
from ..joyhallo.methods.redub import Engine, Redubber, Wishes
from ..joyhallo.ops import Ops

log = logging.getLogger(__name__)

AUTO = "auto"
COMPILER = INDUCTOR
WEIGHTS = {
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "fp32": torch.float32,
    "fp8_e4m3fn": torch.float8_e4m3fn,
}
FEW_KEYS, WIDE = 32, 128  # Sage gains nothing with so few keys (over time 18), and has no heads wider than this
ARITHMETIC = [torch.float16, torch.bfloat16, torch.float32]  # supported for computation, the best first


@dataclass(frozen=True)
class Precision:
    weights: torch.dtype
    compute: torch.dtype

    @classmethod
    def chosen(cls, choice: str, stored: torch.dtype, parameters: int) -> Precision:
        """The precision of that name, or ComfyUI's choice for a network of this size and stored dtype."""
        if choice != AUTO and choice not in WEIGHTS:
            raise ValueError(f"The weight dtype {choice!r} is unknown; choose {AUTO}, {', '.join(WEIGHTS)}.")
        manager, device = comfy.model_management, comfy.model_management.get_torch_device()
        weights = WEIGHTS.get(choice) or manager.unet_dtype(device, parameters, ARITHMETIC, stored)
        return cls(weights, manager.unet_manual_cast(weights, device, ARITHMETIC) or weights)

    @property
    def choice(self) -> str:
        """By which it is had again."""
        return next((name for name, dtype in WEIGHTS.items() if dtype == self.weights), AUTO)

    def __str__(self) -> str:
        weights, compute = (str(dtype).removeprefix("torch.") for dtype in (self.weights, self.compute))
        return weights if weights == compute else f"{weights}, computed in {compute}"


FULL = Precision(torch.float32, torch.float32)  # of what works beside the main network, and of small ones


def comfy_ops(precision: Precision) -> Ops:
    """ComfyUI's layers, which cast and move their weights on use, and the attention ComfyUI was started with."""
    device = comfy.model_management.get_torch_device()
    layers = comfy.ops.pick_operations(precision.weights, precision.compute, load_device=device)

    class ComfyOps:
        Linear = layers.Linear
        Conv1d = layers.Conv1d
        Conv2d = layers.Conv2d
        ConvTranspose2d = layers.ConvTranspose2d
        GroupNorm = layers.GroupNorm
        LayerNorm = layers.LayerNorm

        @staticmethod
        def attention(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
            return suited(k.shape[1], q.shape[-1] // heads)(q, k, v, heads)

        @staticmethod
        def weights(layer: nn.Module, like: Tensor) -> tuple[Tensor, Tensor | None]:
            full = torch.float32
            weight, bias, borrowed = comfy.ops.cast_bias_weight(
                layer, dtype=full, device=like.device, bias_dtype=full, offloadable=True
            )
            try:  # copies, as the next layer's weights will overwrite these
                return weight.to(full, copy=True), None if bias is None else bias.to(full, copy=True)
            finally:
                comfy.ops.uncast_bias_weight(layer, weight, bias, borrowed)

    return ComfyOps


def suited(keys: int, width: int) -> Callable[..., Tensor]:
    """The attention ComfyUI was started with, or PyTorch's where Sage would fail, with an error in the log each time,
    or lose precision for nothing. width: of a head"""
    return attention_pytorch if _is_sage() and (keys <= FEW_KEYS or width > WIDE) else optimized_attention


def _is_sage() -> bool:
    return "sage" in optimized_attention.__name__


def arithmetic() -> tuple[object, ...]:
    """How this process computes: flags of ComfyUI, and threads, in whose number sums are divided.

    Beside weights and dtypes, the last digits of every result depend on it; over the chunks of a clip they grow.
    """
    upcast = comfy.model_management.force_upcast_attention_dtype()
    attention = (optimized_attention.__name__, *((FEW_KEYS, WIDE) if _is_sage() else ()))
    return *attention, upcast, torch.get_num_threads()


def with_tables(network: nn.Module, device: torch.device) -> nn.Module:
    """Tables go where the network computes: of one that is loaded in part, ComfyUI moves only what has weights, and a
    table elsewhere would be copied, and waited for, at every use."""
    for module in network.modules():
        if next(module.parameters(recurse=False), None) is None:
            for name, table in module.named_buffers(recurse=False):
                if table.device != device:
                    setattr(module, name, table.to(device))
    return network


@dataclass(frozen=True)
class JoyHalloModel:
    """The networks of a checkpoint, which ComfyUI loads and unloads one by one, as they run at different times."""

    name: str
    path: Path
    config: ModelConfig
    net: Net
    precision: Precision
    patchers: Mapping[str, comfy.model_patcher.ModelPatcher]
    compiled: Compiled | None = None

    @property
    def device(self) -> torch.device:
        return self.patcher.load_device

    @cached_property
    def fingerprint(self) -> str:
        return of_module(self.net)

    @property
    def patcher(self) -> comfy.model_patcher.ModelPatcher:
        """Newer versions of ComfyUI know results that hold models by this, and by `get_models`."""
        return self.patchers["denoising_unet"]

    def get_models(self) -> list[comfy.model_patcher.ModelPatcher]:
        """All of them; newer versions spare the memory of models that the current prompt uses."""
        return list(self.patchers.values())

    def get_ram_usage(self) -> int:
        """Bytes held; older versions ask when they must choose which results to drop."""
        return sum(patcher.model_size() for patcher in self.patchers.values())

    def loader(self, settings: Settings, size: int) -> Callable[[nn.Module], nn.Module]:
        """A callback for `animate` that loads a network, leaving room for its working memory at this size."""
        precision = self.precision
        needed = working_memory(self.config.net, settings, size, precision.compute, precision.weights)

        def ready(network: nn.Module) -> nn.Module:
            name = next(name for name, patcher in self.patchers.items() if patcher.model is network)
            comfy.model_management.load_models_gpu([self.patchers[name]], memory_required=needed[name])
            return with_tables(network, self.device)

        return ready

    def compiling(self) -> JoyHalloModel:
        """The same, whose denoiser is compiled as it first runs; or a CompileError, if nothing can be compiled here."""
        check(self.device, COMPILER)
        if not fills_layers_itself(self.patcher):
            return replace(self, compiled=Compiled(COMPILER))
        plain = load_model(self.path, self.name, self.precision.choice, disable_dynamic=True)
        return replace(plain, compiled=Compiled(COMPILER))

    def run(self, part: Any) -> Running:
        """Compiled layers do not ask whether the user cancelled, as ComfyUI's do."""
        comfy.model_management.throw_exception_if_processing_interrupted()
        return (self.compiled or at_once)(part)


@dataclass(frozen=True)
class Part:
    """What a redub method works with beside its own network."""

    made: Any  # as the method takes it
    patcher: comfy.model_patcher.ModelPatcher
    fingerprint: str


@dataclass(frozen=True)
class RedubModel:
    """A network that redubs, with all that its method works with."""

    name: str
    path: Path
    method: Method
    network: nn.Module
    precision: Precision
    patcher: comfy.model_patcher.ModelPatcher  # by which newer versions of ComfyUI know results that hold models
    parts: Mapping[str, Part] = field(default_factory=dict)  # by their words in METHODS
    version: str = ""

    @property
    def title(self) -> str:
        return f"{self.method.name} {self.version}".strip()

    @property
    def device(self) -> torch.device:
        return self.patcher.load_device

    @cached_property
    def fingerprint(self) -> str:
        return of_module(self.network)

    def get_models(self) -> list[comfy.model_patcher.ModelPatcher]:
        return [self.patcher, *(part.patcher for part in self.parts.values())]

    def get_ram_usage(self) -> int:
        return sum(patcher.model_size() for patcher in self.get_models())

    def redubber(self, most: int, wishes: Wishes) -> Redubber:
        """most: frames at once, for which there is room."""
        made = {word: part.made for word, part in self.parts.items()}
        marks = {word: part.fingerprint for word, part in self.parts.items()}
        engine = Engine(self.network, self.device, self.precision.compute, made, self.version, marks, self.ready)
        return self.method.redubber(engine, most, wishes)

    def ready(self, network: Any, memory: int = 0) -> Any:
        """memory: bytes that it needs beside its weights"""
        found = [patcher for patcher in self.get_models() if patcher.model is network]
        comfy.model_management.load_models_gpu(found, memory_required=memory)
        for patcher in found:
            with_tables(patcher.model, patcher.load_device)
        return network


def load_redub_model(
    path: Path, name: str, weight_dtype: str, parts: Mapping[str, Part] | None = None, version: str = ""
) -> RedubModel:
    method, network, precision = _redub_network(path, weight_dtype)
    manager = patcher(network)
    can_be_made_again(manager, _redub_network_again, path, weight_dtype)
    version = method.version(path, version)
    log.info(f"{name} is a {method.name} checkpoint, loaded in {precision}. {method.licence}.")
    return RedubModel(name, path, method, network, precision, manager, parts or {}, version)


def _redub_network(path: Path, weight_dtype: str) -> tuple[Method, nn.Module, Precision]:
    method = method_of(path, "redub")
    checkpoint = method.open(path)
    precision = Precision.chosen(weight_dtype, checkpoint.dtype, checkpoint.parameters)
    return method, checkpoint.build(comfy_ops(precision), dtype=precision.weights), precision


def _redub_network_again(
    path: Path, weight_dtype: str, disable_dynamic: bool = False
) -> comfy.model_patcher.ModelPatcher:
    return patcher(_redub_network(path, weight_dtype)[1], disable_dynamic)


def load_model(path: Path, name: str, weight_dtype: str, disable_dynamic: bool = False) -> JoyHalloModel:
    model, precision = _built(path, weight_dtype)
    patchers = {network: patcher(getattr(model.net, network), disable_dynamic) for network in NETWORKS}
    for network, manager in patchers.items():
        can_be_made_again(manager, _network_again, path, weight_dtype, network)
    log.info(f"{name} is a {model.name} checkpoint, loaded in {precision}.")
    if model.config.note:
        log.warning(f"{name}: {model.config.note}")
    return JoyHalloModel(name, path, model.config, model.net, precision, patchers)


def _built(path: Path, weight_dtype: str) -> tuple[Model, Precision]:
    checkpoint = method_of(path, "portrait").open(path)
    precision = Precision.chosen(weight_dtype, checkpoint.dtype, checkpoint.parameters)
    return checkpoint.build(comfy_ops(precision), dtype=precision.weights), precision


def patcher(network: nn.Module, disable_dynamic: bool = False) -> comfy.model_patcher.ModelPatcher:
    # Newer versions manage memory with another class, chosen when ComfyUI starts.
    plain = comfy.model_patcher.ModelPatcher
    kind = plain if disable_dynamic else getattr(comfy.model_patcher, "CoreModelPatcher", plain)
    manager = comfy.model_management
    return kind(network, load_device=manager.get_torch_device(), offload_device=manager.unet_offload_device())


def fills_layers_itself(patcher: Any) -> bool:
    """Whether a newer version's patcher moves weights as layers need them, so that nobody else may."""
    return hasattr(patcher, "is_dynamic") and patcher.is_dynamic()


def can_be_made_again(made: Any, factory: Callable[..., Any], *given: Any) -> None:
    """Tell newer versions how to make a patcher again: for another device, or without their dynamic memory.

    factory: takes `given`, and disable_dynamic.
    """
    made.cached_patcher_init = factory, given


def _network_again(
    path: Path, weight_dtype: str, network: str, disable_dynamic: bool = False
) -> comfy.model_patcher.ModelPatcher:
    model, _ = _built(path, weight_dtype)
    return patcher(getattr(model.net, network), disable_dynamic)
