"""Whether the device computes what the original did: recorded cases, in each precision, layout and kernel.

The networks of the cases are small. Errors are shares, of the sums of squares; a case is right up to `ALLOWED`.
"""

from __future__ import annotations

import contextlib
import fnmatch
import re
import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from .bench import DTYPES, Bench, Unavailable, away, full_precision
from .scene import Scene, network, settings_of
from .ways import BACKENDS, LAYOUTS, backend, layout, missing
from .worker import attempt

TESTS = Path(__file__).resolve().parents[2] / "tests"
CARRIED = TESTS / "golden"
# In halves three times as far as a processor is off in the carried steps.
ALLOWED = {"fp32": 1e-4, "fp16": 1.6e-2, "bf16": 1.4e-1}
FULL_ALONE = ("dtype", "scalar type", "should be the same")  # what torch says where precisions meet
NETWORKS = {  # names of the cases that networks alone answer, by method
    "hallo": ("mod_*", "step_?", "hallo_step_?", "wav2vec"),
    "latentsync": ("mod_motion", "mod_resnet", "mod_spatial", "step_a", "step_b", "step_stage1", "step_efficient"),
    "musetalk": ("unet_tiny", "bisenet"),
    "wav2lip": ("generator", "wav2lip256", "expert"),
    "ultralight": ("forward_hubert", "forward_wenet"),
}
FIRST = "step_a"  # of the carried cases: all of a step


def parts(bench: Bench) -> dict[str, Callable[[], dict[str, Any]]]:
    made: dict[str, Callable[[], dict[str, Any]]] = {}
    for dtype in DTYPES:
        made[f"carried {dtype}"] = lambda dtype=dtype: recorded(bench, CARRIED, dtype)
    for dtype in () if bench.small else DTYPES:
        made[f"kernels {dtype}"] = lambda dtype=dtype: kernels(bench, dtype)
        made[f"layouts {dtype}"] = lambda dtype=dtype: layouts(bench, dtype)
    made["against double precision"] = lambda: against_double(bench)
    for folder in bench.recorded:
        for dtype in DTYPES:
            made[f"{folder.name} {dtype}"] = lambda folder=folder, dtype=dtype: recorded(bench, folder, dtype)
    return made


# ---- recorded cases


def parity() -> Any:
    """The tests' own command, with its tolerances and all that answers cases."""
    for folder in (TESTS / "helpers", TESTS):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    import parity as found

    return found


def recorded(bench: Bench, folder: Path, dtype: str) -> dict[str, Any]:
    if not (folder / "index.json").is_file():
        raise Unavailable(f"{folder.name} has no index.json")
    module = parity()
    cases = [case for case in module.cases(folder) if chosen(bench, case)]
    if not cases:
        raise Unavailable(f"{folder.name} has no cases of networks")
    with full_precision(), answered_on(module, bench.device, DTYPES[dtype]):
        found = {case.name: attempt(lambda case=case: answered(module, case, dtype)) for case in cases}
    return told(found)


def told(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    measured = [figures for figures in found.values() if "apart" in figures]
    wrong = [name for name, figures in found.items() if not figures.get("right", True)]
    broken = [name for name, figures in found.items() if "failed" in figures]
    most = max((figures["apart"] for figures in measured), default=None)
    return {"right": len(measured) - len(wrong), "wrong": wrong, "broken": broken, "most_apart": most, "cases": found}


def chosen(bench: Bench, case: Any) -> bool:
    if bench.small and case.name not in ("mod_audioproj", "mod_time", "mod_imageproj"):
        return False
    return any(fnmatch.fnmatch(case.name, pattern) for pattern in NETWORKS.get(case.method, ()))


def answered(module: Any, case: Any, dtype: str) -> dict[str, Any]:
    found = {name: tensor.float().cpu() for name, tensor in answers(module, case, dtype)}
    if not found:
        raise Unavailable("what answers it asks for full precision itself")
    apart = most_apart(case, found)
    figures = {"answers": len(found), "apart": apart, "right": apart <= ALLOWED[dtype]}
    if dtype == "fp32":
        figures["beyond_tests"] = [name for name, _, _, right in module.differences(case, found) if not right]
    return figures


@torch.no_grad()
def answers(module: Any, case: Any, dtype: str) -> Iterator[tuple[str, Tensor]]:
    """Those that are recorded, up to one that is made in full precision whatever is asked for."""
    function = next(made for pattern, made in module.KINDS[case.method].items() if re.fullmatch(pattern, case.name))
    try:
        for name, tensor in function(case):
            if case.wanted is None or name in case.wanted:
                yield name, tensor
    except module.Unsupported as reason:
        raise Unavailable(str(reason)) from reason
    except RuntimeError as error:
        if dtype == "fp32" or not any(words in str(error) for words in FULL_ALONE):
            raise


def most_apart(case: Any, found: dict[str, Tensor]) -> float:
    from safetensors import safe_open

    with safe_open(case.folder / case.facts.get("file", f"{case.name}.safetensors"), "pt") as stored:
        expected = {name: stored.get_tensor(name).float() for name in found}
    return max(away(found[name], expected[name]) for name in found if expected[name].norm() > 0)


@contextlib.contextmanager
def answered_on(module: Any, device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """The tests answer cases on a processor, in full precision. Here all that they draw, read and build is sent on."""
    import cases
    import parity_networks
    import seeded

    from joyhallo.files.checkpoint import Checkpoint

    fill, build, normals, sampler = seeded.fill, Checkpoint.build, seeded.normals, parity_networks.step_sampler
    read = cases.Case.inputs.func

    def sampled(case: Any, half_features: bool = False, dtype: torch.dtype = dtype) -> Any:
        return sampler(case, half_features, dtype, device)

    def inputs(case: Any) -> dict[str, Tensor]:
        return {name: tensor.to(device) for name, tensor in read(case).items()}

    replaced = [
        mock.patch.object(seeded, "fill", lambda *given: rounded(fill(*given), device, dtype)),
        mock.patch.object(seeded, "normals", lambda *given: normals(*given).to(device)),
        mock.patch.object(Checkpoint, "build", lambda *given: rounded(build(*given), device, dtype)),
        mock.patch.object(parity_networks, "step_sampler", sampled),
        mock.patch.object(cases.Case, "inputs", property(inputs)),
    ]
    if dtype != torch.float32:  # sums of rounded weights are others
        replaced += [
            mock.patch.object(one, "checked", return_value=None) for one in helpers() if hasattr(one, "checked")
        ]
    with contextlib.ExitStack() as stack:
        for patch in replaced:
            stack.enter_context(patch)
        if device.type != "cpu":
            stack.enter_context(_drawn_by_processors(device))
        forget(cases)
        stack.callback(forget, cases)
        yield


def helpers() -> list[Any]:
    return [module for name, module in list(sys.modules.items()) if name == "cases" or name.startswith("parity_")]


def forget(cases: Any) -> None:
    """What the tests keep of networks was made elsewhere, or in another precision."""
    cases.WEIGHTS.salt = None
    for made in [made for module in helpers() for made in vars(module).values()]:
        if hasattr(made, "cache_clear"):
            made.cache_clear()


def rounded(network: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """A network that computes there and in that precision, whatever it is given."""

    def given(_: Any, inputs: Any, named: Any) -> Any:
        return _cast(inputs, device, dtype), _cast(named, device, dtype)

    network.register_forward_pre_hook(given, with_kwargs=True)
    network.register_forward_hook(lambda _, __, made: _cast(made, device, torch.float32))
    return network.to(device, dtype)


def _cast(parts: Any, device: torch.device, dtype: torch.dtype) -> Any:
    def cast(part: Any) -> Any:
        if not isinstance(part, Tensor):
            return part
        return part.to(device, dtype if part.is_floating_point() else None)

    return tree_map(cast, parts)


@contextlib.contextmanager
def _drawn_by_processors(device: torch.device) -> Iterator[None]:
    """Small tensors that cases make themselves lie on the device; what a processor's generator draws cannot."""
    draw = torch.randn

    def randn(*shape: Any, **named: Any) -> Tensor:
        here = {"device": "cpu"} if named.get("generator") is not None else {}
        return draw(*shape, **(here | named))

    with mock.patch.object(torch, "randn", randn), device:
        yield


# ---- one step, in other ways


def _step(bench: Bench, dtype: str) -> tuple[Any, Callable[[], Tensor]]:
    """A carried case, and what makes its answer."""
    module = parity()
    from parity_networks import step_rows, step_sampler

    case = module.cases(CARRIED, [FIRST])[0]
    net, sampler, chunk, _ = step_sampler(case, dtype=DTYPES[dtype], device=bench.device)
    return case, lambda: step_rows(case, sampler, net, chunk).float().cpu()


def _ways(bench: Bench, dtype: str, ways: dict[str, Callable[[], Any]]) -> dict[str, Any]:
    """ways: contexts by name"""
    with torch.no_grad(), full_precision():
        case, run = _step(bench, dtype)
        found = {}
        for name, way in ways.items():

            def once(way: Callable[[], Any] = way) -> dict[str, Any]:
                try:
                    with way():
                        apart = most_apart(case, {"out.noise_pred": run()})
                except RuntimeError as error:
                    if missing(error):
                        raise Unavailable(str(error).splitlines()[0]) from error
                    raise
                return {"apart": apart, "right": apart <= ALLOWED[dtype]}

            found[name] = attempt(once)
    return told(found)


def kernels(bench: Bench, dtype: str) -> dict[str, Any]:
    return _ways(bench, dtype, {name: lambda name=name: backend(name) for name in ("default", *BACKENDS)})


def layouts(bench: Bench, dtype: str) -> dict[str, Any]:
    return _ways(bench, dtype, {name: lambda name=name: layout(name) for name in LAYOUTS})


@torch.no_grad()
def against_double(bench: Bench) -> dict[str, Any]:
    """The plainest of measures, which needs no recording: a small network on a processor in double precision."""
    from .scale import TINY

    small, side = Bench(torch.device("cpu"), TINY, bench.clock), TINY.sides[-1]
    settings = settings_of(small)
    drawn = network(small, torch.float32)
    expected = Scene.of(deepcopy(drawn).double(), side, settings, small.device, torch.float64).both()
    found: dict[str, Any] = {}
    for name, dtype in DTYPES.items():

        def once(dtype: torch.dtype = dtype, name: str = name) -> dict[str, Any]:
            net = deepcopy(drawn).to(bench.device, dtype)
            with full_precision():
                made = Scene.of(net, side, settings, bench.device, dtype).both()
            apart = away(made.cpu(), expected)
            return {"apart": apart, "right": apart <= ALLOWED[name]}

        found[name] = attempt(once)
    return told(found)
