from __future__ import annotations

import logging
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..joyhallo.faces.track import Track
from ..joyhallo.film.write import as_floats
from ..joyhallo.methods.plan import BLENDS, LONG, SHORT, SILENCES, Look
from ..joyhallo.methods.redub import Wishes
from ..joyhallo.sound.audio import as_channels, checked_rate, prepare
from . import report
from .comfy_adapter import AUTO, RedubModel
from .inputs import checked
from .preview import Preview, listed, stop
from .redubbing import AREAS, JOINTS, SMOOTHINGS, SOLVERS, Redubbing
from .run import make
from .sockets import FaceTrack, Redub, chosen, rate_of_images, schema
from .video import Pictures, sound_of

log = logging.getLogger(__name__)


class RedubLips(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "RedubLips",
            display_name="Redub Lips",
            description="Makes the lips of a video, or of a picture, follow another recording. All else stays as it "
            "is.",
            inputs=[
                Redub.Input("redub_model", tooltip="From Load Redub Model."),
                io.MultiType.Input(
                    "video",
                    [io.Video, io.Image],
                    tooltip="A video of any length, size and rate, of any model or camera: it is read a few frames at "
                    "a time. Or images: several are a video at fps, one is a picture that speaks.",
                ),
                io.Audio.Input(
                    "audio",
                    tooltip="The speech that the lips follow, in any language, at any sample rate, mono or stereo. It "
                    "becomes the sound of the video, unchanged.",
                ),
                io.Int.Input(
                    "seed",
                    default=42,
                    min=0,
                    max=0xFFFF_FFFF_FFFF_FFFF,
                    control_after_generate=True,
                    tooltip="For methods that draw random numbers. Wav2Lip does not: the report says so.",
                ),
                io.Int.Input(
                    "steps",
                    default=0,
                    min=0,
                    max=200,
                    tooltip="Denoising steps, for methods that have them. 0: the method's own. Wav2Lip has none.",
                ),
                io.Float.Input(
                    "guidance",
                    default=0.0,
                    min=0.0,
                    max=20.0,
                    step=0.1,
                    tooltip="How closely to follow the speech, for methods that denoise. 0: the method's own number. "
                    "Wav2Lip has none: use strength.",
                ),
                io.Combo.Input(
                    "when_video_is_short",
                    options=list(SHORT),
                    default="loop",
                    tooltip="What to show if the speech lasts longer. loop: from the beginning again. bounce: "
                    "backwards and forwards, without a jump. hold: the last picture stays. stretch: the video is "
                    "slowed down. stop: the speech is cut off.",
                ),
                io.Combo.Input(
                    "when_video_is_long",
                    options=list(LONG),
                    default="cut",
                    tooltip="What to show if the speech ends sooner. cut: the video ends with it. keep: the rest of "
                    "the video follows as it is, in silence.",
                ),
                io.Float.Input(
                    "sync_offset",
                    default=0.0,
                    min=-1000.0,
                    max=1000.0,
                    step=1.0,
                    tooltip="Milliseconds by which the lips come later; below 0 earlier. Wav2Lip's lips are 40 ms "
                    "early: 40 is as it was trained, 0 as its authors' program does it.",
                ),
                io.Combo.Input(
                    "blend",
                    options=list(BLENDS),
                    default="whole box",
                    tooltip="What is replaced. whole box: all of the face's box, as the original does it. feather: the "
                    "same with soft borders. mouth: only from the nose to the chin, with soft borders. The last two "
                    "match the colours along the border.",
                ),
                io.Combo.Input(
                    "silence",
                    options=list(SILENCES),
                    default="model",
                    tooltip="What the mouth does while nobody speaks. model: what the network makes of the sound. "
                    "hold: it hears silence there, so that breath and noise move nothing. source: the video's own "
                    "mouth is seen, for a listener, say.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    tooltip="How strongly the mouth follows the speech: 1 as trained, less moves it less.",
                ),
                io.Boolean.Input(
                    "cover_tail",
                    default=True,
                    tooltip="Whether the picture lasts as long as the speech. Off: as in the original, which ends up "
                    "to 0.14 s sooner; the speech is cut there.",
                ),
                io.Boolean.Input(
                    "level_loudness",
                    default=False,
                    tooltip="Whether a faint recording is made louder for the network, which opens the mouth less for "
                    "faint speech. The sound of the video stays as it is.",
                ),
                io.Combo.Input(
                    "smoothing",
                    options=list(SMOOTHINGS),
                    default="original",
                    tooltip="How the face's box is steadied over time. original: as the authors' program does it, "
                    "which runs ahead of a moving face. centred: with as many frames before as after. none: as it was "
                    "found.",
                ),
                _pad("top", 0),
                _pad("bottom", 10),
                _pad("left", 0),
                _pad("right", 0),
                rate_of_images(),
                io.Boolean.Input(
                    "resume",
                    default=True,
                    label_on="go on after a stop",
                    label_off="begin anew",
                    tooltip="Keeps finished chunks on disk for two weeks, 8 GB at most. After a cancel, a crash or a "
                    "power cut the same workflow resumes from the last one. begin anew: nothing is kept or reused.",
                ),
                FaceTrack.Input(
                    "face_track",
                    optional=True,
                    tooltip="From Track Face, run on the same video: who speaks, and where. If not connected, the "
                    "largest face is tracked here, with MediaPipe.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Only what is painted here changes: one mask, or one for each picture. Without face_track "
                    "it also says where the face is: paint it from the hairline to the chin. With blend at mouth it "
                    "replaces the region that would be found.",
                ),
                io.Combo.Input(
                    "area",
                    options=list(AREAS),
                    default=AUTO,
                    optional=True,
                    tooltip="What of the face is made anew. LatentSync: mask, or mask2, mask3, mask4, of which mask3 "
                    "is the smallest and mask4 the largest. MuseTalk: jaw, raw (skin and lips), neck, or box, for "
                    "a mask of your own. auto: the method's own. Wav2Lip knows none.",
                ),
                io.Int.Input(
                    "shift",
                    default=0,
                    min=-200,
                    max=200,
                    optional=True,
                    tooltip="Pixels by which the box starts lower. MuseTalk 1.0: more opens the mouth more, below 0 "
                    "less. Ultralight: for a network whose boxes were others.",
                ),
                io.Int.Input(
                    "reuse",
                    default=1,
                    min=1,
                    max=10,
                    optional=True,
                    tooltip="Steps that share what the deep layers of LatentSync found. 1: none, which is exact. 3: as "
                    "its authors' program does it, in 0.4 of the time.",
                ),
                io.Combo.Input(
                    "solver",
                    options=list(SOLVERS),
                    default="ddim",
                    optional=True,
                    tooltip="How LatentSync denoises: ddim as in the original. The others are of second order, which "
                    "usually takes fewer steps.",
                ),
                io.Combo.Input(
                    "long_sound",
                    options=list(JOINTS),
                    default="blocks",
                    optional=True,
                    tooltip="How LatentSync, MuseTalk and Ultralight hear long recordings. blocks: 20 or 30 seconds "
                    "at a time, as in the originals, where lips may twitch. overlapped: each part knows what is "
                    "around it.",
                ),
            ],
            advanced=(
                "smoothing",
                "pad_top",
                "pad_bottom",
                "pad_left",
                "pad_right",
                "fps",
                "area",
                "shift",
                "reuse",
                "solver",
                "long_sound",
            ),
            outputs=[
                io.Video.Output(
                    "redubbed",
                    display_name="video",
                    tooltip="For Save Talking Video, with the speech as its sound. It stays in a file, however long it "
                    "is. Outside of what is replaced it is the video that came in, to the last bit.",
                ),
                io.Video.Output(
                    "changed",
                    display_name="mask",
                    tooltip="What was replaced, white on black, frame by frame: for a restorer of faces, say, after "
                    "Get Video Components and Convert Image to Mask. It is made when it is needed.",
                ),
                io.String.Output(
                    "report",
                    display_name="report",
                    tooltip="What was used, which frames have no face, how fast it was: connect Preview as Text, and "
                    "include it when you ask for help.",
                ),
                FaceTrack.Output(
                    "track",
                    display_name="face_track",
                    tooltip="Where the face is in the video that comes out, which may be longer than the one that went "
                    "in: for Cut Out Faces.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
            newer={"essentials_category": "Video Tools"},
        )

    @classmethod
    @checked
    def execute(
        cls,
        redub_model: RedubModel,
        video: Any,
        audio: Any,
        seed: int,
        steps: int,
        guidance: float,
        when_video_is_short: str,
        when_video_is_long: str,
        sync_offset: float,
        blend: str,
        silence: str,
        strength: float,
        cover_tail: bool,
        level_loudness: bool,
        smoothing: str,
        pad_top: int,
        pad_bottom: int,
        pad_left: int,
        pad_right: int,
        fps: float,
        resume: bool,
        face_track: Track | None = None,
        mask: Tensor | None = None,
        area: str = AUTO,
        shift: int = 0,
        reuse: int = 1,
        solver: str = "ddim",
        long_sound: str = "blocks",
    ) -> io.NodeOutput:
        look = Look(
            short=chosen(SHORT, when_video_is_short, "when_video_is_short"),
            long=chosen(LONG, when_video_is_long, "when_video_is_long"),
            blend=chosen(BLENDS, blend, "blend"),
            silence=chosen(SILENCES, silence, "silence"),
            level=level_loudness,
        )
        pads = pad_top, pad_bottom, pad_left, pad_right
        steadied = chosen(SMOOTHINGS, smoothing, "smoothing")
        wishes = Wishes(
            seed,
            steps,
            guidance,
            strength,
            sync_offset,
            cover_tail,
            steadied,
            pads,
            chosen(AREAS, area, "area"),
            shift,
            reuse,
            chosen(SOLVERS, solver, "solver"),
            chosen(JOINTS, long_sound, "long_sound"),
        )
        waveform, rate = sound_of(audio)
        pictures = Pictures.of(video, fps)
        recording = prepare(waveform, rate, stop)
        sound = as_channels(waveform), checked_rate(rate)
        work = Redubbing.planned(redub_model, pictures, recording, sound, wishes, look, face_track, mask, resume)
        used = work.used()
        log.info("Making a video:\n%s", used)
        first = as_floats(next(pictures.read(0))).movedim(2, 0) * 2 - 1
        preview = Preview(first, None, redub_model.device, cls.hidden and cls.hidden.unique_id)
        made = make(work.job(), preview)
        facts = [used, made.plan, made.pace(), *work.found(), *report.warnings(recording.notices)]
        told = report.shown(facts)
        return io.NodeOutput(made.video, work.mask_video(), told, work.shown_track(), ui=listed(recording.notices))


def _pad(side: str, default: int) -> io.Int.Input:
    return io.Int.Input(
        f"pad_{side}",
        default=default,
        min=-1000,
        max=1000,
        tooltip=f"Pixels added to the face's box at its {side}. The original adds 10 at the chin; more may help if the "
        "chin is cut off.",
    )
