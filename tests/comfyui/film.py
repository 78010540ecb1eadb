"""The way through all five nodes as a prompt, at its smallest: one chunk, two steps, 64 pixels."""

from __future__ import annotations

from typing import Any

from tools.comfyui.workflow import Graph, Outputs

Inputs = dict[str, Any]

FILM = ["ChineseWav2Vec2Encode", "FaceMaskPrep", "JoyHalloSampler", "LoadJoyHalloModels", "SaveTalkingVideo"]
OTHERS = [
    "JoyHalloMotion",
    "JoyHalloSteadiness",
    "JoyHalloTurns",
    "PuppetPortrait",
    "TrackFace",
    "LoadRedubModel",
    "RedubLips",
    "CutFaces",
    "PasteFaces",
    "ScoreLipSync",
    "ScoreVideo",
    "CompareVideos",
    "ScoreLikeness",
    "EvaluationReport",
    "AlignSound",
    "JoyHalloCompile",
]
NODES = sorted([*FILM, *OTHERS])  # all of the pack


class Film(Graph):
    """Inputs given for a node replace those of here: Film(sampler={"seed": 7}). None takes one away."""

    def __init__(self, picture: str = "portrait.png", sound: str = "short.wav", **changes: Inputs):
        super().__init__()
        self.picture = self.add("LoadImage", image=picture)
        self.sound = self.add("LoadAudio", audio=sound)
        self.models = self.add("LoadJoyHalloModels", **MODELS | changes.pop("models", {}))
        self.face = self.add("FaceMaskPrep", **self._face() | changes.pop("face", {}))
        self.speech = self.add("ChineseWav2Vec2Encode", **self._speech() | changes.pop("speech", {}))
        self.sampler = self.add("JoyHalloSampler", **self._sampler() | changes.pop("sampler", {}))
        self.saved = self.add("SaveTalkingVideo", **self._saved() | changes.pop("saved", {}))
        assert not changes, f"no such node: {', '.join(changes)}"

    def mask(self, image: str) -> Outputs:
        return self.add("LoadImageMask", image=image, channel="red")

    def _face(self) -> Inputs:
        return {
            "image": self.picture[0],
            "face_analysis": self.models[2],
            "which_face": "auto",
            "framing": "whole picture",
            "face_expand": 1.2,
            "lip_expand": 2.0,
            "identity": "neutral",
            "face_mask": self.mask("face_mask.png")[0],
            "lip_mask": self.mask("lip_mask.png")[0],
        }

    def _speech(self) -> Inputs:
        return {
            "audio_encoder": self.models[1],
            "audio": self.sound[0],
            "separate_vocals": "off",
            "loudness": "as recorded",
            "normalize": "as the encoder was trained",
        }

    def _sampler(self) -> Inputs:
        return {
            "model": self.models[0],
            "vae": self.models[3],
            "face": self.face[0],
            "speech": self.speech[0],
            "seed": 42,
            "preset": "exact",
            "steps": 2,
            "cfg": 3.5,
            "pose_weight": 1.0,
            "expression_weight": 1.0,
            "lip_weight": 1.0,
            "size": 64,
            "picture": "square",
            "resume": False,
        }

    def _saved(self) -> Inputs:
        return {
            "video": self.sampler[0],
            "audio": self.sound[0],
            "fps": 25.0,
            "filename_prefix": "video/test",
            "format": "mp4",
            "quality": "high",
        }


MODELS = {
    "checkpoint": "demo",
    "audio_encoder": "demo",
    "face_models": "none",
    "vae": "demo",
    "weight_dtype": "auto",
    "download": False,
}
