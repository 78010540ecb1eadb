"""What the pack offers to versions of ComfyUI newer than the one of the tests, by stand-ins for what these add."""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import dataclass, field, make_dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import small
import torch
from film import NODES
from loaded import Loaded
from safetensors.torch import save_file

from joyhallo.methods.hallo.checkpoint import header_entry
from joyhallo.methods.hallo.config import ModelConfig
from tools.demo_model.bundle import FOLDER


@pytest.fixture
def latest(pack):
    return pack.nodes.replacement.comfy_api.latest


@dataclass
class NodeReplace:
    """With the parameters that ComfyUI documents."""

    new_node_id: str
    old_node_id: str
    old_widget_ids: list[str] | None = None
    input_mapping: list[dict[str, Any]] | None = None
    output_mapping: list[dict[str, int]] | None = None


class Registry:
    def __init__(self):
        self.offered: list[NodeReplace] = []

    async def register(self, replacement: NodeReplace) -> None:
        self.offered.append(replacement)


async def load(pack):
    extension = await pack.comfy_entrypoint()
    await extension.on_load()
    return {node.define_schema().node_id: node.define_schema() for node in await extension.get_node_list()}


def test_the_other_packs_node_is_replaced_by_ours(pack, latest, monkeypatch):
    registry = Registry()
    monkeypatch.setattr(latest.io, "NodeReplace", NodeReplace, raising=False)
    monkeypatch.setattr(latest, "ComfyAPI", lambda: SimpleNamespace(node_replacement=registry))
    schemas = asyncio.run(load(pack))
    (offer,) = registry.offered
    assert offer.old_node_id == "JoyHallo_wrapper"
    values = dict(zip(offer.old_widget_ids, [20, 3.5, True, 782], strict=True))  # as its own example holds them
    inputs = {found.id: found for found in schemas[offer.new_node_id].inputs}
    taken = {inputs[pair["new_id"]].io_type: values[pair["old_id"]] for pair in offer.input_mapping}
    kept = {pair["new_id"]: values[pair["old_id"]] for pair in offer.input_mapping}
    assert kept == {"steps": 20, "cfg": 3.5, "seed": 782}
    assert {kind: type(value) for kind, value in taken.items()} == {"INT": int, "FLOAT": float}


@pytest.mark.parametrize("error", [ImportError("No module named 'server'"), AttributeError("'NoneType' object")])
def test_nothing_is_replaced_where_nothing_can_be(pack, latest, monkeypatch, error):
    """As without a server."""

    class Refusing(Registry):
        async def register(self, replacement):
            raise error

    monkeypatch.setattr(latest.io, "NodeReplace", NodeReplace, raising=False)
    monkeypatch.setattr(latest, "ComfyAPI", lambda: SimpleNamespace(node_replacement=Refusing()))
    assert sorted(asyncio.run(load(pack))) == NODES


def test_nothing_is_replaced_in_versions_that_cannot(pack, latest, monkeypatch):
    monkeypatch.delattr(latest.io, "NodeReplace", raising=False)
    assert sorted(asyncio.run(load(pack))) == NODES


NEWER = {"search_aliases": (), "essentials_category": None, "has_intermediate_output": False}


@pytest.fixture
def schemas(pack, latest, monkeypatch):
    """In a version that knows all newer facts of a node."""
    known = inspect.signature(latest.io.Schema).parameters
    missing = [(name, Any, field(default=default)) for name, default in NEWER.items() if name not in known]
    monkeypatch.setattr(pack.nodes.sockets.io, "Schema", make_dataclass("Schema", missing, bases=(latest.io.Schema,)))
    return asyncio.run(load(pack))


def test_every_node_is_found_by_other_words(schemas):
    found = {name: schema.search_aliases for name, schema in schemas.items()}
    assert sorted(found) == NODES
    for words in found.values():
        assert any(word.isascii() for word in words)
        assert any(not word.isascii() for word in words)
        assert len(set(words)) == len(words)
        assert not any(set(word) & set(",，") or word != word.strip() for word in words)
    assert {"talking head", "lip sync", "数字人", "口型"} <= set(found["JoyHalloSampler"])


def test_what_nodes_show_outlives_the_page(schemas):
    """Exactly of those that the page draws something for, and that are no outputs themselves."""
    kept = {name for name, schema in schemas.items() if schema.has_intermediate_output}
    assert kept == {"FaceMaskPrep", "JoyHalloSampler", "TrackFace"}
    assert schemas["JoyHalloSampler"].essentials_category == "Video Tools"


def test_inputs_that_few_change_are_folded_away(schemas):
    folded = {
        name: {found.id for found in schema.inputs if vars(found).get("advanced")} for name, schema in schemas.items()
    }
    assert {name: ids for name, ids in folded.items() if ids} == {
        "LoadJoyHalloModels": {"weight_dtype"},
        "FaceMaskPrep": {"face_expand", "lip_expand"},
        "ChineseWav2Vec2Encode": {"normalize"},
        "JoyHalloMotion": {"sensitivity", "attack", "release"},
        "TrackFace": {"detection_size", "cuts", "fps"},
        "LoadRedubModel": {"weight_dtype", "version"},
        "RedubLips": {
            *("smoothing", "pad_top", "pad_bottom", "pad_left", "pad_right", "fps"),
            *("area", "shift", "reuse", "solver", "long_sound"),
        },
        "CutFaces": {"first_frame", "frames", "fps"},
        "PasteFaces": {"fps"},
        "ScoreLipSync": {"fps"},
    }


def test_names_that_are_not_listed_reach_the_loader(pack):
    """Newer versions refuse them, unless they are left to the node's own check."""
    loader = pack.nodes.load_models.LoadJoyHalloModels
    left = inspect.signature(loader.validate_inputs).parameters
    assert set(left) == {found.id for found in loader.define_schema().inputs if found.io_type == "COMBO"}
    assert loader.validate_inputs(**dict.fromkeys(left, "nowhere")) is True


# ---- memory


@pytest.fixture(scope="module")
def loaded(pack):
    return Loaded(pack)


@pytest.fixture
def checkpoint(tmp_path):
    net = small.net()
    path = tmp_path / "net.safetensors"
    save_file(net.state_dict(), path, {"joyhallo": header_entry(ModelConfig(net.config))})
    return path


class Dynamic:
    """Marks patchers that newer versions make where they manage memory by themselves."""


@pytest.fixture
def dynamic(pack, monkeypatch):
    import comfy.model_patcher as home

    kind = type("CoreModelPatcher", (Dynamic, home.ModelPatcher), {})
    monkeypatch.setattr(home, "CoreModelPatcher", kind, raising=False)


def test_a_model_is_known_by_its_patchers(pack, checkpoint):
    """By one of them its result is recognised, by all of them its memory is spared."""
    import comfy.model_patcher as home

    model = pack.nodes.comfy_adapter.load_model(checkpoint, "net", "auto")
    assert isinstance(model.patcher, home.ModelPatcher)
    assert model.patcher.model is model.net.denoising_unet
    assert {id(found.model) for found in model.get_models()} == {id(part) for part in model.net.children()}
    if hasattr(home, "is_model_patcher_output"):
        assert home.is_model_patcher_output(model)


@pytest.mark.parametrize("plain", [True, False])
def test_patchers_can_be_made_again(pack, checkpoint, dynamic, plain):
    """With weights of their own, and without dynamic memory if that is asked for."""
    model = pack.nodes.comfy_adapter.load_model(checkpoint, "net", "fp16")
    for patcher in model.get_models():
        assert isinstance(patcher, Dynamic)
        factory, given, *_ = patcher.cached_patcher_init
        again = factory(*given, disable_dynamic=True) if plain else factory(*given)
        assert isinstance(again, Dynamic) != plain
        assert again.model is not patcher.model
        torch.testing.assert_close(again.model.state_dict(), patcher.model.state_dict(), rtol=0, atol=0)


def test_what_is_compiled_has_no_dynamic_memory(pack, checkpoint, dynamic, monkeypatch):
    """Compiled code would not see how that moves weights."""
    adapter = pack.nodes.comfy_adapter
    monkeypatch.setattr(adapter, "COMPILER", "eager")
    model = adapter.load_model(checkpoint, "net", "fp16")
    monkeypatch.setattr(model.patcher, "is_dynamic", lambda: True, raising=False)
    (compiled,) = pack.nodes.compile_model.JoyHalloCompile.execute(model).args
    assert not any(isinstance(patcher, Dynamic) for patcher in compiled.get_models())
    assert (compiled.fingerprint, compiled.precision) == (model.fingerprint, model.precision)
    assert compiled.net is not model.net


def test_the_vaes_patcher_can_be_made_again(pack):
    import comfy.model_patcher as home

    vae = pack.nodes.autoencoder.load_vae(FOLDER / "vae.safetensors")
    factory, given, *_ = vae.patcher.cached_patcher_init
    again = factory(*given)
    assert isinstance(again, home.ModelPatcher)
    assert again.model is not vae.first_stage_model
    torch.testing.assert_close(again.model.state_dict(), vae.first_stage_model.state_dict(), rtol=0, atol=0)


def test_copies_for_another_device(pack, checkpoint):
    """As nodes of newer versions make them."""
    models = pack.nodes.comfy_adapter.load_model(checkpoint, "net", "auto").get_models()
    vae = pack.nodes.autoencoder.load_vae(FOLDER / "vae.safetensors")
    for patcher in (*models, vae.patcher):
        if not hasattr(patcher, "deepclone_multigpu"):
            pytest.skip("this version of ComfyUI makes no such copies")
        copy = patcher.deepclone_multigpu(torch.device("cpu"))
        assert copy.model is not patcher.model


def lazy(kind: type) -> type:
    """A layer without weights until a state dict brings them, as newer versions make their Linear."""

    class Lazy(kind):
        made = 0

        def __init__(self, *sizes, bias=True, device=None, dtype=None):
            super().__init__(*sizes, bias=bias, device="meta", dtype=dtype)
            self.weight = self.bias = None
            Lazy.made += 1

        def _load_from_state_dict(self, state_dict, prefix, metadata, strict, missing, unexpected, errors):
            for name in ("weight", "bias"):
                if (tensor := state_dict.get(prefix + name)) is not None:
                    setattr(self, name, torch.nn.Parameter(tensor, requires_grad=False))

    return Lazy


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16", "fp8_e4m3fn", "auto"])
def test_layers_that_get_their_weights_late(pack, checkpoint, monkeypatch, dtype):
    adapter = pack.nodes.comfy_adapter
    expected = adapter.load_model(checkpoint, "net", dtype)
    plain, kinds = adapter.comfy_ops, []

    def late(precision):
        ops = plain(precision)
        ops.Linear = lazy(ops.Linear)
        kinds.append(ops.Linear)
        return ops

    monkeypatch.setattr(adapter, "comfy_ops", late)
    found = adapter.load_model(checkpoint, "net", dtype)
    assert kinds[0].made > 20
    assert found.fingerprint == expected.fingerprint
    weights = found.net.state_dict()
    for name, tensor in expected.net.state_dict().items():
        assert weights[name].dtype == tensor.dtype
        assert torch.equal(weights[name].float(), tensor.float())
    assert [one.model_size() for one in found.get_models()] == [one.model_size() for one in expected.get_models()]


def test_an_encoder_that_moves_its_own_weights_is_left_alone(pack, loaded, monkeypatch):
    moved = []
    encoder, patcher = loaded.encoder, loaded.encoder.patcher
    monkeypatch.setattr(type(encoder.model), "to", lambda self, device: moved.append(device) or self)
    for fills_itself in (False, True):
        monkeypatch.setattr(patcher, "is_dynamic", lambda answer=fills_itself: answer, raising=False)
        ready = pack.nodes.audio_encode._encoder(encoder, None, SimpleNamespace(encoding=None)).ready
        moved.clear()
        assert ready(encoder.model) is encoder.model
        assert bool(moved) != fills_itself
