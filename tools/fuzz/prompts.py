"""Random prompts: workflows that work, of which a few inputs are changed."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..comfyui.server import Prompt
from ..comfyui.workflow import Graph
from .hands_out import FILLS, NAME, Spec

CATEGORY = "JoyHallo"
LIPS = "wav2lip/wav2lip_gan.pth"
SMALL_MASK = "small_face_mask.png"
CHANGED = (1, 1, 2, 3)  # inputs, one of these numbers at a time

# What would take long and tell nothing more: inputs that are chosen within these when they are to be right.
SMALL = {"steps": (1, 3), "size": (64, 128)}
TYPED: Sequence[Any] = (
    *(0, -1, 1, 2.5, 1e30, -1e30, float("nan"), float("inf"), 2**70, True, False, None),
    *("", "none", "demo", "copy", "nan", "-5", "1:05", "../../x", "/etc/x"),
    *("a" * 250, "\u4f60\u597d", "a\x00b", "%date%"),
    *({}, {"a": 1}, {"__value__": [1, 2]}, {"__value__": "x"}),
)
DTYPES = ("float32", "float32", "float32", "float16", "float64", "int64", "uint8", "bool", "complex64")


Nodes = Mapping[str, Any]  # ComfyUI's /object_info


@dataclass(frozen=True)
class Place:
    """An input of a node."""

    prompt: Prompt
    node: str
    name: str
    nodes: Nodes

    @property
    def kind(self) -> str:
        kind = self._wanted[0]
        return kind if isinstance(kind, str) else "COMBO"

    @property
    def options(self) -> Mapping[str, Any]:
        """Of combos, too, whose choices older nodes name in the place of the type."""
        kind, *options = self._wanted
        return {"options": kind} if isinstance(kind, list) else options[0] if options else {}

    @property
    def _wanted(self) -> Sequence[Any]:
        return inputs_of(self.nodes[self.prompt[self.node]["class_type"]])[self.name]

    def put(self, value: Any) -> None:
        self.prompt[self.node]["inputs"][self.name] = value

    def leave_out(self) -> None:
        self.prompt[self.node]["inputs"].pop(self.name, None)


@dataclass(frozen=True)
class Asked:
    """A prompt, and what was changed in it, in words."""

    prompt: Prompt
    changes: tuple[str, ...]


def asked(seed: int, number: int, nodes: Nodes, bases: Sequence[str] = ()) -> Asked:
    """The same for the same numbers."""
    chance = random.Random(f"{seed} {number}")
    prompt: Prompt = BASES[chance.choice(bases or DRAWN)]()
    ours = [node for node, about in prompt.items() if nodes[about["class_type"]]["category"] == CATEGORY]
    changes = []
    for _ in range(chance.choice(CHANGED)):
        node = chance.choice(ours)
        kind = prompt[node]["class_type"]
        place = Place(prompt, node, chance.choice(list(inputs_of(nodes[kind]))), nodes)
        changes.append(f"{kind}.{place.name} {chance.choice(CHANGES)(chance, place)}")
    return Asked(prompt, tuple(changes))


def inputs_of(about: Mapping[str, Any]) -> dict[str, Any]:
    """(type, options) by name"""
    return {**about["input"].get("required", {}), **about["input"].get("optional", {})}


# ---- workflows that work


def film() -> Graph:
    graph = Graph()
    models = graph.add(
        "LoadJoyHalloModels",
        checkpoint="demo",
        audio_encoder="demo",
        face_models="demo",
        vae="demo",
        weight_dtype="auto",
        download=False,
    )
    sound = graph.add("LoadAudio", audio="short.wav")
    face = graph.add(
        "FaceMaskPrep",
        image=graph.add("LoadImage", image="portrait.png")[0],
        which_face="auto",
        framing="face",
        face_expand=1.2,
        lip_expand=2.0,
        identity="neutral",
        face_analysis=models[2],
    )
    speech = graph.add(
        "ChineseWav2Vec2Encode",
        audio_encoder=models[1],
        audio=sound[0],
        separate_vocals="off",
        loudness="as recorded",
        normalize="as the encoder was trained",
    )
    motion = graph.add(
        "JoyHalloMotion",
        speech=speech[0],
        expressiveness="natural",
        pose="1",
        expression="1",
        lip="0: 1, 0.3: 0.5",
        rest_in_pauses=True,
        sensitivity=0.0,
        attack=2,
        release=3,
    )
    steadiness = graph.add("JoyHalloSteadiness", hold_colours=True, overlap=0, fade=0, anchor_every=0.0)
    sampler = graph.add(
        "JoyHalloSampler",
        model=models[0],
        vae=models[3],
        face=face[0],
        speech=speech[0],
        seed=42,
        preset="draft",
        steps=1,
        cfg=1.0,
        pose_weight=motion[0],
        expression_weight=motion[1],
        lip_weight=motion[2],
        size=64,
        picture="whole picture",
        resume=False,
        steadiness=steadiness[0],
    )
    _saved(graph, video=sampler[0], audio=sound[0])
    return graph


def puppet() -> Graph:
    graph = Graph()
    sound = graph.add("LoadAudio", audio="short.wav")
    turns = graph.add("JoyHalloTurns", audio=sound[0], turns="1: 0-0.3, 2: 0.3-0.6", order="one after the other")
    shown = graph.add(
        "PuppetPortrait",
        image=graph.add("LoadImage", image="portrait.png")[0],
        audio=turns[2],
        strength=1.0,
        expressiveness=1.0,
        blinks=1.0,
        sway=1.0,
        seed=1,
    )
    _saved(graph, video=shown[0])
    return graph


def _tracked(graph: Graph, video: Any) -> Any:
    """The face of a video, under a painted mask."""
    return graph.add(
        "TrackFace",
        video=video[0],
        which_face="largest",
        detector="painted mask",
        detection_size=0,
        gaps="interpolate",
        cuts=True,
        fps=25.0,
        mask=graph.add("LoadImageMask", image=SMALL_MASK, channel="red")[0],
    )


def redub() -> Graph:
    graph = Graph()
    video = graph.add("LoadVideo", file="face.mp4")
    tracked = _tracked(graph, video)
    redubbed = graph.add(
        "RedubLips",
        redub_model=graph.add("LoadRedubModel", model=LIPS, weight_dtype="auto", download=False)[0],
        video=video[0],
        audio=graph.add("LoadAudio", audio="short.wav")[0],
        seed=42,
        steps=0,
        guidance=0.0,
        when_video_is_short="bounce",
        when_video_is_long="cut",
        sync_offset=40.0,
        blend="mouth",
        silence="hold",
        strength=1.0,
        cover_tail=True,
        level_loudness=False,
        smoothing="centred",
        pad_top=0,
        pad_bottom=10,
        pad_left=0,
        pad_right=0,
        fps=25.0,
        resume=False,
        face_track=tracked[0],
    )
    faces = graph.add(
        "CutFaces",
        video=redubbed[0],
        size=64,
        room=0.5,
        first_frame=0,
        frames=0,
        fps=25.0,
        face_track=redubbed[3],
    )
    pasted = graph.add(
        "PasteFaces", video=redubbed[0], faces=faces[0], crops=faces[1], blend="feather", strength=1.0, fps=25.0
    )
    _saved(graph, video=pasted[0])
    return graph


def scores() -> Graph:
    graph = Graph()
    video, sound = graph.add("LoadVideo", file="talk.mp4"), graph.add("LoadAudio", audio="speech.wav")
    tracked = _tracked(graph, video)
    lips = graph.add(
        "ScoreLipSync", video=video[0], judge="lip reader", fps=25.0, audio=sound[0], face_track=tracked[0]
    )
    steady = graph.add("ScoreVideo", video=video[0], measures="only what needs no files")
    near = graph.add("CompareVideos", video=video[0], truth=video[0])
    graph.add("PreviewAudio", audio=graph.add("AlignSound", audio=sound[0], offset=lips[2])[0])
    graph.add(
        "EvaluationReport",
        scores_1=steady[1],
        scores_2=near[4],
        scores_3=lips[5],
        names="",
        filename_prefix="video/fuzz",
    )
    return graph


def frames() -> Graph:
    graph = Graph()
    picture, sound = graph.add("LoadImage", image="portrait.png"), graph.add("LoadAudio", audio="short.wav")
    _saved(graph, frames=picture[0], audio=sound[0])
    return graph


def video_file() -> Graph:
    graph = Graph()
    _saved(graph, video=graph.add("LoadVideo", file="film.mp4")[0])
    return graph


def _saved(graph: Graph, **given: Any) -> None:
    graph.add(
        "SaveTalkingVideo",
        **given,
        fps=25.0,
        filename_prefix="video/fuzz",
        format="mp4",
        quality="small",
        label="off",
    )


BASES: Mapping[str, Callable[[], Graph]] = {
    one.__name__: one for one in (film, puppet, frames, video_file, redub, scores)
}
DRAWN = (
    "film",
    "film",
    "puppet",
    "frames",
    "video_file",
    "redub",
    "redub",
    "scores",
    "scores",
)  # one of these by chance

# ---- changes: each says what it did


def typed(chance: random.Random, place: Place) -> str:
    value = copy.deepcopy(chance.choice(TYPED))
    place.put(value)
    return f"= {value!r:.60}"


def fitting(chance: random.Random, place: Place) -> str:
    """Another value that is right; a socket is left as it is."""
    value = right(chance, place)
    if value is None:
        return "stays"
    place.put(value)
    return f"= {value!r:.60}"


def right(chance: random.Random, place: Place) -> Any:
    options = place.options
    if place.kind == "COMBO":
        return chance.choice(options["options"])
    if place.kind == "BOOLEAN":
        return chance.choice([True, False])
    if place.kind not in ("INT", "FLOAT"):
        return None
    low, high = SMALL.get(place.name, (options["min"], options["max"]))
    step = options.get("step") or 1
    return chance.randrange(low, high + 1, step) if place.kind == "INT" else round(chance.uniform(low, high), 3)


def dropped(chance: random.Random, place: Place) -> str:
    place.leave_out()
    return "is left out"


def crossed(chance: random.Random, place: Place) -> str:
    """Linked to an output of another node."""
    giving = {node: place.nodes[about["class_type"]]["output"] for node, about in place.prompt.items()}
    other = chance.choice([node for node, outputs in giving.items() if outputs and node != place.node])
    place.put([other, chance.randrange(len(giving[other]))])
    return f"<- {place.prompt[other]['class_type']}"


def handed(chance: random.Random, place: Place) -> str:
    """Linked to a value of any kind, mostly of nearly the right one."""
    value = right(chance, place)
    if value is not None and chance.random() < 0.2:
        spec: Spec = {
            "is": "text" if isinstance(value, str) else "number",
            "value": value,
            "real": place.kind == "FLOAT",
        }
    else:
        spec = NEARLY.get(place.kind, any_value)(chance) if chance.random() < 0.75 else any_value(chance)
    number = str(max(map(int, place.prompt)) + 1)
    place.prompt[number] = {"class_type": NAME, "inputs": {"spec": json.dumps(spec)}}
    place.put([number, 0])
    return f"<- {json.dumps(spec):.120}"


CHANGES = (typed, fitting, dropped, crossed, *[handed] * 6)

# ---- values


def number(chance: random.Random) -> Spec:
    value = chance.choice([0, 1, 2, 64, 128, -1, 2.5, 3.0, 1e30, 2**20, 2**70, float("nan"), float("inf")])
    return {"is": "number", "value": str(value), "real": isinstance(value, float), "numpy": chance.random() < 0.2}


def tensor(chance: random.Random, *shapes: Sequence[int]) -> Spec:
    sides = [chance.choice([0, 1, 2, 3, 64]) for _ in range(chance.randint(0, 5))]
    shape = list(chance.choice(shapes)) if shapes else sides
    if chance.random() < 0.2 and shape:
        shape[chance.randrange(len(shape))] = chance.choice([0, 1, 2, 5])
    fill, dtype = chance.choice([*FILLS, "noise", "noise"]), chance.choice(DTYPES)
    return {"is": "tensor", "shape": shape, "fill": fill, "dtype": dtype, "numpy": chance.random() < 0.1}


def picture(chance: random.Random) -> Spec:
    return tensor(chance, (1, 64, 64, 3), (1, 128, 96, 4), (3, 64, 64, 3), (64, 64, 3), (1, 64, 64, 1), (1, 1, 1, 3))


def mask(chance: random.Random) -> Spec:
    return tensor(chance, (1, 64, 64), (64, 64), (1, 512, 512), (2, 64, 64), (1, 1, 1), (1, 1, 64, 64))


def audio(chance: random.Random) -> Spec:
    waveform = tensor(chance, (1, 1, 8000), (1, 2, 8000), (2, 1, 8000), (8000,), (1, 1, 100), (1, 8, 8000))
    rate: Spec = {"is": "number", "value": chance.choice(["16000", "44100", "8000", "192000"])}
    given = {"is": "audio", "waveform": waveform, "rate": rate}
    odd = chance.random()
    if odd < 0.2:
        given["rate"] = any_value(chance)
    elif odd < 0.3:
        given["without"] = [chance.choice(["waveform", "sample_rate"])]
    elif odd < 0.4:
        given["waveform"] = any_value(chance)
    return given


def video(chance: random.Random) -> Spec:
    rate: Spec = {"is": "number", "value": chance.choice(["25", "30", "0", "-1", "1000000"])}
    given = {"is": "video", "images": picture(chance), "rate": rate}
    return {**given, "audio": audio(chance)} if chance.random() < 0.5 else given


def text(chance: random.Random) -> Spec:
    value = chance.choice([value for value in TYPED if isinstance(value, str)])
    return {"is": "text", "value": value}


def series(chance: random.Random) -> Spec:
    return {"is": "list", "of": [number(chance) for _ in range(chance.choice([0, 1, 5, 15]))]}


def number_or_series(chance: random.Random) -> Spec:
    return chance.choice([number, number, series])(chance)


def any_value(chance: random.Random, depth: int = 0) -> Spec:
    if depth < 2 and chance.random() < 0.1:
        inner = [any_value(chance, depth + 1) for _ in range(chance.randint(0, 3))]
        return {"is": "dict", "of": {f"{at}": one for at, one in enumerate(inner)}}
    if chance.random() < 0.1:
        return {"is": chance.choice(["nothing", "object"])}
    if chance.random() < 0.1:
        return {"is": "switch", "value": chance.random() < 0.5}
    return chance.choice([number, series, text, tensor, picture, mask, audio, video])(chance)


NEARLY: Mapping[str, Callable[[random.Random], Spec]] = {
    "INT": number,
    "FLOAT": number_or_series,
    "STRING": text,
    "COMBO": text,
    "IMAGE": picture,
    "MASK": mask,
    "AUDIO": audio,
    "VIDEO": video,
}
