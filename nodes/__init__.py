"""The ComfyUI nodes: the only package that imports ComfyUI."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from . import examples, fetching, model_folders, replacement
from .align_sound import AlignSound
from .audio_encode import ChineseWav2Vec2Encode
from .compare_videos import CompareVideos
from .compile_model import JoyHalloCompile
from .cut_faces import CutFaces
from .evaluation_report import EvaluationReport
from .face_mask_prep import FaceMaskPrep
from .load_models import LoadJoyHalloModels
from .load_redub_model import LoadRedubModel
from .motion import JoyHalloMotion
from .paste_faces import PasteFaces
from .preview import page
from .puppet import PuppetPortrait
from .redub_lips import RedubLips
from .sampler import JoyHalloSampler
from .save_video import SaveTalkingVideo
from .score_likeness import ScoreLikeness
from .score_lip_sync import ScoreLipSync
from .score_video import ScoreVideo
from .steadiness import JoyHalloSteadiness
from .track_face import TrackFace
from .turns import JoyHalloTurns

model_folders.register()


class JoyHallo(ComfyExtension):
    async def on_load(self) -> None:
        await replacement.register()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [
            LoadJoyHalloModels,
            FaceMaskPrep,
            JoyHalloTurns,
            ChineseWav2Vec2Encode,
            JoyHalloMotion,
            JoyHalloSteadiness,
            JoyHalloSampler,
            SaveTalkingVideo,
            PuppetPortrait,
            TrackFace,
            LoadRedubModel,
            RedubLips,
            CutFaces,
            PasteFaces,
            ScoreLipSync,
            ScoreVideo,
            CompareVideos,
            ScoreLikeness,
            EvaluationReport,
            AlignSound,
            JoyHalloCompile,
        ]


async def comfy_entrypoint() -> JoyHallo:
    if (server := page()) is not None:  # here, as older versions of ComfyUI do not call on_load
        examples.register(server)
        fetching.register(server)
    return JoyHallo()
