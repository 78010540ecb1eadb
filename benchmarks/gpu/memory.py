"""The most memory that a clip takes, by setting and by ways to take less: a chunk from portrait to pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from joyhallo.diffusion.schedule import Schedule
from joyhallo.methods.hallo.memory import working_memory
from joyhallo.methods.hallo.networks.net import Net
from joyhallo.methods.hallo.sampling import Settings, animate
from joyhallo.ops import CastOps, TorchOps

from ..denoise import random_inputs
from .bench import Bench, Unavailable, drawn
from .pixels import codec
from .scene import settings_of

STEPS = 2
LIMITS = (8, 5)  # GB, of cards with so much


@dataclass(frozen=True)
class Mode:
    """How memory is spared."""

    by_turns: bool = False  # networks are on the device only while they compute
    eight_bits: bool = False  # matrices are kept in them, and computed with in more
    limit: float = 0.0  # GB: as if the card had no more; 0: all that it has

    @property
    def ops(self) -> Any:
        return CastOps if self.eight_bits else TorchOps


RESIDENT, TURNS, BITS, LOW = Mode(), Mode(by_turns=True), Mode(eight_bits=True), Mode(by_turns=True, eight_bits=True)


def parts(bench: Bench) -> dict[str, Callable[[], dict[str, Any]]]:
    side, made = bench.scale.sides[0], {}

    def part(name: str, side: int, mode: Mode, **changes: Any) -> None:
        made[name] = lambda: chunk(bench, side, mode, settings_of(bench, steps=STEPS, **changes))

    for each in bench.scale.sides:
        part(f"{each}", each, RESIDENT)
    if not bench.small:
        part(f"{side}, rows apart", side, RESIDENT, rows_together=False)
        part(f"{side}, deep layers reused", side, RESIDENT, reuse=2)
        part(f"{side}, low: networks by turns, rows apart", side, TURNS, rows_together=False)
        part(f"{side}, low: 8-bit weights", side, BITS)
    part(f"{side}, low: 8-bit weights by turns, rows apart", side, LOW, rows_together=False)
    part(f"{side}, in {LIMITS[0]} GB", side, replace(TURNS, limit=LIMITS[0]))
    part(f"{side}, in {LIMITS[1]} GB", side, replace(LOW, limit=LIMITS[1]), rows_together=False)
    return made


def chunk(bench: Bench, side: int, mode: Mode, settings: Settings) -> dict[str, Any]:
    """Everything that a first chunk needs, so that nothing may be forgotten: networks, codec, reference pass, steps."""
    if mode.limit:
        bench.only_on("cuda", "a limit of memory")
    net = bench.keep(("stored", mode.eight_bits), lambda: stored(bench, mode.eight_bits), alone=True)
    net.to("cpu" if mode.by_turns else bench.device)
    made, turns = codec(bench), Turns(bench, net if mode.by_turns else None)
    portrait, windows = random_inputs(bench.scale.config, side, settings.chunk_frames)
    schedule = Schedule()

    def work() -> None:
        given = net, made, schedule, portrait, windows, settings
        for _ in animate(*given, device=bench.device, dtype=bench.half, ready=turns.ready):  # type: ignore[arg-type]
            turns.put_away()

    with limited(bench, mode.limit):
        figures = bench.clock.peak(work, [*net.state_dict().values(), *made.autoencoder.state_dict().values()])
    told = working_memory(bench.scale.config, settings, side, bench.half)
    return {**figures, "told_beside_weights_gb": max(told.values()) / 1e9}


def stored(bench: Bench, eight_bits: bool) -> Net:
    ops = CastOps if eight_bits else TorchOps
    net = drawn(lambda: Net(bench.scale.config, ops), bench.device, bench.half)
    if not eight_bits:
        return net
    kind = getattr(torch, "float8_e4m3fn", None)
    if kind is None:
        raise Unavailable("this torch has no numbers of 8 bits")
    for module in net.modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, nn.Parameter) and weight.ndim > 1:
            module.weight = nn.Parameter(weight.data.to(kind), requires_grad=False)
    return net


@dataclass
class Turns:
    """Puts a network onto the device as it is needed, and the one before away."""

    bench: Bench
    net: Net | None
    now: nn.Module | None = None

    def ready(self, network: nn.Module) -> nn.Module:
        if self.net is not None and network is not self.now:
            self.put_away()
            self.now = network.to(self.bench.device)
        return network

    def put_away(self) -> None:
        if self.now is not None:
            self.now.to("cpu")
        self.now = None


@contextmanager
def limited(bench: Bench, gigabytes: float) -> Iterator[None]:
    """As if the card had no more than that for torch."""
    if not gigabytes or bench.device.type != "cuda":
        yield
        return
    _, total = torch.cuda.mem_get_info()
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(min(1.0, gigabytes * 1e9 / total))
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
