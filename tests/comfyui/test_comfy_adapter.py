"""The same weights under PyTorch's layers and under ComfyUI's."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import lips
import people
import pytest
import small
import torch
from safetensors.torch import save_file

import joyhallo.methods.hallo.sampling
from benchmarks.waits import Asked
from joyhallo.diffusion.schedule import Schedule
from joyhallo.methods.hallo.checkpoint import header_entry, load_checkpoint
from joyhallo.methods.hallo.config import ModelConfig, NetConfig
from joyhallo.methods.hallo.sampling import Settings
from joyhallo.methods.ultralight.checkpoint import open_checkpoint as open_person
from joyhallo.ops import TorchOps
from joyhallo.sound.hubert_file import open_hubert

SETTINGS = Settings(steps=2, chunk_frames=4, seed=3)
HALF = {"fp16": torch.float16, "bf16": torch.bfloat16}


@pytest.fixture(scope="module", params=[False, True], ids=["JoyHallo", "Hallo"])
def checkpoint(request, tmp_path_factory):
    net = small.net(regional_audio=request.param)
    path = tmp_path_factory.mktemp("adapter") / "net.safetensors"
    save_file(net.state_dict(), path, {"joyhallo": header_entry(ModelConfig(net.config))})
    return path


def frames(net, sampling=joyhallo.methods.hallo.sampling, **more) -> torch.Tensor:
    """`sampling`: the engine that the network belongs to; the pack has a copy under its own name."""
    chunks = sampling.animate(net, small.BlockCodec(), Schedule(), small.portrait(), small.windows(6), SETTINGS, **more)
    return torch.cat([chunk.frames for chunk in chunks])


def through_comfyui(pack, path, dtype: str) -> tuple[torch.Tensor, SimpleNamespace]:
    model = pack.nodes.comfy_adapter.load_model(path, "net", dtype)
    ready = model.loader(pack.joyhallo.methods.hallo.sampling.Settings(), 64)
    return frames(model.net, pack.joyhallo.methods.hallo.sampling, dtype=model.precision.compute, ready=ready), model


@pytest.fixture(scope="module")
def through(pack, checkpoint):
    """Frames and model by dtype, for those who leave the model as it is."""
    return cache(lambda dtype: through_comfyui(pack, checkpoint, dtype))


@pytest.fixture(scope="module")
def exact(checkpoint) -> torch.Tensor:
    return frames(load_checkpoint(checkpoint).net)


def test_full_precision_gives_the_same_frames(through, exact):
    found, model = through("fp32")
    assert model.precision.compute == torch.float32
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-5)


def test_every_attention_that_comfyui_may_choose(pack):
    from comfy.ldm.modules import attention

    random = torch.Generator().manual_seed(7)
    q, k, v = (torch.randn(3, tokens, 64, generator=random) for tokens in (40, 50, 50))
    expected = TorchOps.attention(q, k, v, 4)
    for chosen in (attention.attention_pytorch, attention.attention_sub_quad, attention.attention_split):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pack.nodes.comfy_adapter, "optimized_attention", chosen)
            precision = pack.nodes.comfy_adapter.Precision(torch.float32, torch.float32)
            found = pack.nodes.comfy_adapter.comfy_ops(precision).attention(q, k, v, 4)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_sage_is_spared_what_it_cannot_do(pack, monkeypatch):
    """Heads wider than 128, and attention over time, in which it would gain nothing."""
    adapter, asked = pack.nodes.comfy_adapter, []

    def attention_sage(q, k, v, heads):
        asked.append((k.shape[1], q.shape[2] // heads))
        return TorchOps.attention(q, k, v, heads)

    before = adapter.arithmetic()
    monkeypatch.setattr(adapter, "optimized_attention", attention_sage)
    assert adapter.arithmetic() != before
    ops = adapter.comfy_ops(adapter.Precision(torch.float32, torch.float32))
    for keys, width in ((18, 40), (32, 40), (256, 40), (256, 128), (256, 160)):
        q, k, v = (torch.randn(2, tokens, 2 * width) for tokens in (40, keys, keys))
        found, expected = ops.attention(q, k, v, 2), TorchOps.attention(q, k, v, 2)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert asked == [(256, 40), (256, 128)]


def test_tables_go_where_the_network_computes(pack):
    """Else each of them is a copy that a card waits for, at every use."""
    positions = pack.joyhallo.diffusion.networks.motion_module.Positions(24, 32)
    network, card = torch.nn.Sequential(torch.nn.Linear(2, 2), positions), torch.device("meta")
    x = torch.empty(5, 18, 32, device=card, dtype=torch.float16)
    with torch.no_grad():
        with Asked() as asked:
            network[1](x)
        assert asked.waits.total() == 1
        pack.nodes.comfy_adapter.with_tables(network, card)
        with Asked() as asked:
            network[1](x)
    assert not asked.waits
    assert network[0].weight.device.type == "cpu"  # where ComfyUI left it
    assert dict(network.named_buffers()).keys() == {"1.pe"}


@pytest.mark.parametrize("dtype", HALF)
def test_half_precision_weights_are_the_rounded_ones(through, checkpoint, dtype):
    """On the CPU the arithmetic stays in 32 bits: the result is that of the rounded weights, to 1e-5."""
    found, model = through(dtype)
    assert {p.dtype for p in model.net.parameters()} == {HALF[dtype]}
    rounded = load_checkpoint(checkpoint, dtype=HALF[dtype]).net.float()
    torch.testing.assert_close(found, frames(rounded), rtol=0, atol=1e-5)


def test_eight_bits_are_for_matrices_alone(through, checkpoint):
    found, model = through("fp8_e4m3fn")
    kinds = {(p.ndim >= 2, p.dtype) for p in model.net.parameters()}
    assert kinds == {(True, torch.float8_e4m3fn), (False, torch.float32)}
    rounded = load_checkpoint(checkpoint).net
    for parameter in rounded.parameters():
        if parameter.ndim >= 2:
            parameter.data = parameter.data.to(torch.float8_e4m3fn).float()
    torch.testing.assert_close(found, frames(rounded), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("dtype", "most"), [("fp16", 0.002), ("bf16", 0.02), ("fp8_e4m3fn", 0.1)])
def test_what_smaller_weights_cost(through, exact, dtype, most):
    """Mean difference of the frames, of a range of 1."""
    cost = (through(dtype)[0] - exact).abs().mean()
    assert 0 < cost < most


def test_an_unknown_dtype_is_named(pack, checkpoint):
    with pytest.raises(ValueError, match="choose auto"):
        pack.nodes.comfy_adapter.load_model(checkpoint, "net", "fp12")


def test_every_weight_lies_in_a_layer_that_comfyui_can_move(pack, checkpoint):
    """Partial loading passes over weights that stand anywhere else."""
    model = pack.nodes.comfy_adapter.load_model(checkpoint, "net", "auto")
    for name, module in model.net.named_modules():
        if list(module.parameters(recurse=False)):
            assert hasattr(module, "comfy_cast_weights"), name


def test_networks_that_lie_elsewhere_in_part(pack, checkpoint):
    """As on a card too small for the weights: layers cast and move their own when they are used."""
    found, model = through_comfyui(pack, checkpoint, "fp16")
    for patcher in model.patchers.values():
        patcher.detach()
        patcher.load(torch.device("cpu"), lowvram_model_memory=1000)
        assert patcher.model.model_lowvram
    apart = frames(model.net, pack.joyhallo.methods.hallo.sampling, dtype=model.precision.compute)
    torch.testing.assert_close(apart, found, rtol=0, atol=1e-6)


def test_a_compiled_network_gives_the_same_frames(pack, tmp_path, monkeypatch):
    """With weights that are cast on use, in layers that ComfyUI moves; the network of others stays as it is."""
    tiny = replace(small.SMALL, channels=(32, 32), locator_channels=(8, 8, 16, 32))
    save_file(small.net(tiny).state_dict(), tmp_path / "net.safetensors", {"joyhallo": header_entry(ModelConfig(tiny))})
    adapter, sampling, graphs = pack.nodes.comfy_adapter, pack.joyhallo.methods.hallo.sampling, []
    model = adapter.load_model(tmp_path / "net.safetensors", "net", "fp8_e4m3fn")
    monkeypatch.setattr(adapter, "COMPILER", lambda graph, given: graphs.append(graph) or graph.forward)
    (compiled,) = pack.nodes.compile_model.JoyHalloCompile.execute(model).args
    assert (compiled.net, compiled.patchers, model.compiled) == (model.net, model.patchers, None)
    given = (
        small.BlockCodec(),
        Schedule(),
        small.portrait(config=tiny),
        small.windows(3, tiny),
        replace(SETTINGS, steps=1),
    )

    def made(model):
        chunks = sampling.animate(model.net, *given, ready=model.loader(given[-1], 64), run=model.run)
        return torch.cat([chunk.frames for chunk in chunks])

    expected, tried = made(model), len(graphs)
    assert torch.equal(made(compiled), expected)
    assert (tried, len(graphs)) == (1, 11)  # resnets of four kinds, three others at each of two levels: no breaks
    assert model.net.denoising_unet.mid_block.resnets[0]._compiled_call_impl is None
    monkeypatch.setattr(adapter.comfy.model_management, "interrupt_processing", True)
    with pytest.raises(adapter.comfy.model_management.InterruptProcessingException):
        compiled.run(model.net.denoising_unet.mid_block.resnets[0])


def test_both_networks_are_known_to_comfyui_while_they_run(pack, checkpoint):
    import comfy.model_management as manager

    _, model = through_comfyui(pack, checkpoint, "auto")
    loaded = {id(found.model.model) for found in manager.current_loaded_models}
    assert {id(patcher.model) for patcher in model.patchers.values()} <= loaded
    manager.unload_all_models()
    assert not manager.current_loaded_models


def test_the_sizes_of_the_published_networks_are_asked_for(pack, checkpoint):
    model = pack.nodes.comfy_adapter.load_model(checkpoint, "net", "auto")
    asked, manager = [], pack.nodes.comfy_adapter.comfy.model_management
    settings = pack.joyhallo.methods.hallo.sampling.Settings()
    expected = pack.joyhallo.methods.hallo.memory.working_memory(NetConfig(), settings, 512, torch.float32)
    published = pack.nodes.comfy_adapter.JoyHalloModel(
        model.name, model.path, ModelConfig(NetConfig()), model.net, model.precision, model.patchers
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manager, "load_models_gpu", lambda models, memory_required: asked.append(memory_required))
        published.loader(settings, 512)(model.net.denoising_unet)
    assert asked == [expected["denoising_unet"]]


@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
def test_wav2lip_is_the_same_under_comfyuis_layers(pack, dtype):
    """It alone has transposed convolutions."""
    adapter, weights = pack.nodes.comfy_adapter, {"fp32": torch.float32, **HALF}[dtype]
    ops = adapter.comfy_ops(adapter.Precision(weights, torch.float32))
    found, plain = (lips.checkpoint("wav2lip").build(kind, dtype=weights) for kind in (ops, TorchOps))
    assert all(hasattr(m, "comfy_cast_weights") for m in found.modules() if list(m.parameters(recurse=False)))
    mel, faces = torch.randn(1, 1, 80, 16), torch.rand(1, 6, 96, 96)
    torch.testing.assert_close(found(mel, faces), plain.float()(mel, faces), rtol=0, atol=1e-5)


def test_ultralight_and_hubert_are_the_same_under_comfyuis_layers(pack, tmp_path):
    adapter = pack.nodes.comfy_adapter
    torch.save(people.drawn(), tmp_path / "person.pth")
    torch.save(
        {f"hubert.{key}": tensor for key, tensor in small.small_hubert().state_dict().items()}, tmp_path / "h.bin"
    )
    given = {
        "person.pth": (torch.randn(1, 16, 32, 32), torch.rand(1, 6, 160, 160)),
        "h.bin": (torch.randn(1, 16_000),),
    }
    for file, open_file in (("person.pth", open_person), ("h.bin", open_hubert)):
        opened = open_file(tmp_path / file)
        found, plain = (opened.build(ops) for ops in (adapter.comfy_ops(adapter.FULL), TorchOps))
        assert all(hasattr(m, "comfy_cast_weights") for m in found.modules() if list(m.parameters(recurse=False)))
        torch.testing.assert_close(found(*given[file]), plain(*given[file]), rtol=0, atol=1e-5)
