"""What the parts have in common: the device, its clock, the sizes, seeded networks, and what is kept between parts."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from joyhallo.diffusion.networks.motion_module import waves

from .clock import Clock
from .scale import FULL, TINY, Scale

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
SEED = 0

Kept = TypeVar("Kept")
Network = TypeVar("Network", bound=nn.Module)


class Unavailable(RuntimeError):
    """Why something cannot be measured here: no failure."""


@dataclass
class Bench:
    device: torch.device
    scale: Scale
    clock: Clock
    original: Path | None = None  # a checkout of the original's code
    recorded: tuple[Path, ...] = ()  # folders of recorded cases
    comfyui: Path | None = None  # a tree of ComfyUI
    kept: dict[Any, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, job: Mapping[str, Any]) -> Bench:
        device = torch.device(job["device"] or best_device())
        torch.manual_seed(SEED)
        small = bool(job["tiny"])
        clock = Clock(device, discarded=1, least=1, seconds=0.001) if small else Clock(device)
        paths = {name: Path(job[name]) if job.get(name) else None for name in ("original", "comfyui")}
        recorded = tuple(map(Path, job.get("recorded", ())))
        return cls(device, TINY if small else FULL, clock, paths["original"], recorded, paths["comfyui"])

    @property
    def small(self) -> bool:
        return self.scale is TINY

    @property
    def half(self) -> torch.dtype:
        """The precision in which people run it: processors are slow in half of it."""
        return torch.float32 if self.device.type == "cpu" else torch.float16

    def keep(self, key: Any, make: Callable[[], Kept], alone: bool = False) -> Kept:
        """Made once for the parts of a block. alone: nothing else is kept beside it."""
        if key not in self.kept:
            if alone:
                self.forget()
            self.kept[key] = make()
        return self.kept[key]

    def forget(self) -> None:
        self.kept.clear()
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def answers(self) -> bool:
        """Whether the device still computes: after some errors it does not until a new process begins."""
        try:
            return (torch.ones(4, device=self.device) * 2).sum().item() == 8
        except Exception:
            return False

    def only_on(self, kind: str, what: str) -> None:
        if self.device.type != kind:
            raise Unavailable(f"{what}: only on {kind}, and this is {self.device.type}")


def best_device() -> str:
    if torch.cuda.is_available():  # ROCm's torch answers to this, too
        return "cuda"
    for name in ("xpu", "mps"):
        module = getattr(torch, name, None)
        if module is not None and hasattr(module, "is_available") and module.is_available():
            return name
    return "cpu"


def drawn(
    build: Callable[[], Network], device: torch.device, dtype: torch.dtype = torch.float32, seed: int = SEED
) -> Network:
    """A network of seeded numbers that keep activations bounded, drawn where it lives: nothing comes from a disk."""
    with ordinary():
        with torch.device("meta"):
            network = build()
        network = network.to(dtype).to_empty(device=device)
        generator = None if device.type == "meta" else torch.Generator(device).manual_seed(seed)
        for key, tensor in network.state_dict().items():
            _draw(key, tensor, generator)
    return network.requires_grad_(False).eval()


@contextmanager
def ordinary() -> Iterator[None]:
    """For tensors that are kept: what is made in inference mode is of no use outside of it."""
    with torch.inference_mode(False), torch.no_grad():
        yield


def _draw(key: str, tensor: Tensor, generator: torch.Generator | None) -> None:
    if key.endswith(".pe"):
        tensor.copy_(waves(tensor.shape[1], tensor.shape[2]))
    elif tensor.ndim < 2:
        tensor.normal_(float(key.endswith("weight")), 0.1, generator=generator)
    else:
        tensor.normal_(0, max(1, tensor[0].numel()) ** -0.5, generator=generator)


def away(found: Tensor, expected: Tensor) -> float:
    """How far it is off, as a share: of the sums of squares, so that no single number near zero tells all."""
    expected = expected.to(found.device).double() if found.device.type != "mps" else expected.cpu().double()
    found = found.to(expected.device).double()
    return ((found - expected).norm() / expected.norm().clamp(min=1e-30)).item()


@contextmanager
def full_precision() -> Iterator[None]:
    """Without the shortened single precision of matrix units."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]
