"""The whole graph with the small model, from portrait and speech to a file."""

from __future__ import annotations

from typing import Any

from demo.workflow import Graph, Link

MODELS = {
    "checkpoint": "demo",
    "audio_encoder": "demo",
    "face_models": "none",
    "vae": "demo",
    "weight_dtype": "auto",
    "download": False,
}
FACE = {
    "which_face": "auto",
    "framing": "whole picture",
    "face_expand": 1.2,
    "lip_expand": 2.0,
    "identity": "neutral",
}
SPEECH = {
    "separate_vocals": "off",
    "loudness": "as recorded",
    "normalize": "as the encoder was trained",
}
SAMPLING = {
    "seed": 1,
    "steps": 2,
    "cfg": 3.5,
    "pose_weight": 1.0,
    "expression_weight": 1.0,
    "lip_weight": 1.0,
    "size": 64,
    "picture": "square",
}
SAVING = {"fps": 25.0, "filename_prefix": "video/JoyHallo", "format": "mp4", "quality": "high"}


class Talking(Graph):
    """Nodes by name: models, portrait, sound, face, speech, sampler, save. Half a second of speech, unless told."""

    def __init__(self, seconds: float = 0.5, save: bool = True):
        super().__init__()
        self.names: dict[str, str] = {}
        self.put("models", "LoadJoyHalloModels", **MODELS)
        self.put("portrait", "LoadImage", image="portrait.png")
        self.put("face mask", "LoadImageMask", image="face_mask.png", channel="red")
        self.put("lip mask", "LoadImageMask", image="lip_mask.png", channel="red")
        self.put("recording", "LoadAudio", audio="speech.wav")
        self.put("sound", "TrimAudioDuration", audio=self["recording", 0], start_index=0.0, duration=seconds)
        self.put(
            "face",
            "FaceMaskPrep",
            image=self["portrait", 0],
            face_analysis=self["models", 2],
            face_mask=self["face mask", 0],
            lip_mask=self["lip mask", 0],
            **FACE,
        )
        sound = self["sound", 0]
        self.put("speech", "ChineseWav2Vec2Encode", audio_encoder=self["models", 1], audio=sound, **SPEECH)
        self.put(
            "sampler",
            "JoyHalloSampler",
            model=self["models", 0],
            vae=self["models", 3],
            face=self["face", 0],
            speech=self["speech", 0],
            **SAMPLING,
        )
        if save:
            self.put("save", "SaveTalkingVideo", frames=self["sampler", 0], audio=sound, **SAVING)

    def put(self, name: str, kind: str, **inputs: Any) -> None:
        self.names[name] = self.add(kind, **inputs).node

    def change(self, name: str, **inputs: Any) -> Talking:
        super().__getitem__(self.names[name])["inputs"].update(inputs)
        return self

    def __getitem__(self, key: Any) -> Any:
        """graph["face", 5]: an output of a node by its name."""
        if isinstance(key, tuple):
            name, number = key
            link: Link = [self.names[name], number]
            return link
        return super().__getitem__(key)

    def named(self, nodes: list[str]) -> list[str]:
        names = {node: name for name, node in self.names.items()}
        return [names[node] for node in nodes]
