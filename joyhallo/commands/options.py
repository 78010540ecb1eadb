"""Every option of every kind of job in one list: the commands' options, and the columns of a table, are made of it.

Nothing here takes long to import: a table of many rows is checked, and help is given, before torch is there.
"""

from __future__ import annotations

from .option import Option

AUTO = "auto"
FORMATS = ("mp4", "webm", "mov", "mkv")


def _seed() -> Option:
    return Option("seed", "whole", 42, "another number gives another film, the same number the same film", 0, 2**64 - 1)


def _film() -> tuple[Option, ...]:
    return (
        Option(
            "quality",
            "choice",
            "high",
            "how much detail is kept; for mkv all of it, at 16, 12, 10 or 8 bits",
            choices=("best", "high", "medium", "small"),
            group="film",
        ),
        Option(
            "label",
            "choice",
            "off",
            "words in the corner that say that it is made by AI, for 2 s or all the time; the file says so in any case",
            choices=("off", "zh", "zh-whole", "en", "en-whole"),
            group="film",
        ),
    )


def _finders() -> tuple[Option, ...]:
    return (
        Option("landmarker", "file", None, "MediaPipe's face_landmarker.task, instead of the one found", group="files"),
    )


PUPPET = (
    Option(
        "strength", "number", 1.0, "how far the mouth moves: 0 not at all, 1 as in clear speech", 0, 2, group="puppet"
    ),
    Option("expressiveness", "number", 1.0, "how much brows and nods go with stressed words", 0, 2, group="puppet"),
    Option("blinks", "number", 1.0, "how often the eyes blink: 0 never, 1 as people do", 0, 3, group="puppet"),
    Option(
        "sway",
        "number",
        1.0,
        "how much the head sways and breathes: 0 not at all, 1 as a calm speaker",
        0,
        3,
        group="puppet",
    ),
)


def _weight(region: str, effect: str) -> Option:
    says = f"how strongly {effect}: 0 not at all, 1 as trained, up to 3; or keyframes as in '0: 1, 2.5: 0.4'"
    return Option(f"{region}_weight", "curve", "1", says, 0, 3, group="motion")


MOTION = (
    _weight("pose", "the head moves with the speech"),
    _weight("expression", "brows, eyes and cheeks do"),
    _weight("lip", "the lips do"),
    Option("rest_in_pauses", "switch", False, "whether the lips close while nobody speaks", group="motion"),
    Option(
        "sensitivity",
        "number",
        0.0,
        "decibels: more finds more pauses, where the mouth moves with breath or noise",
        -20,
        20,
        group="motion",
    ),
    Option("attack", "whole", 3, "frames over which the lips part before speech begins", 0, 50, group="motion"),
    Option("release", "whole", 5, "frames over which they come to rest after it ends", 0, 50, group="motion"),
)
STEADINESS = (
    Option(
        "hold_colours",
        "switch",
        False,
        "whether colours stay those of the first chunk of 16 frames",
        group="steadiness",
    ),
    Option(
        "overlap", "whole", 0, "frames of each chunk that the next one repeats; 4 are smooth", 0, 8, group="steadiness"
    ),
    Option(
        "fade",
        "whole",
        0,
        "frames over which a jump between chunks fades out, except on the lips",
        0,
        8,
        group="steadiness",
    ),
    Option(
        "anchor_every",
        "number",
        0.0,
        "after so many seconds the film continues from the picture itself; 0: never",
        0,
        600,
        group="steadiness",
    ),
)
SPEECH = (
    Option(
        "separate_vocals",
        "choice",
        AUTO,
        "whether the network hears the voice without music and noise; auto: if there seem to be any, and "
        "Kim_Vocal_2.onnx is there",
        choices=(AUTO, "on", "off"),
        group="speech",
    ),
    Option(
        "loudness",
        "choice",
        "as recorded",
        "levelled: the network hears a quiet recording louder",
        choices=("as recorded", "levelled"),
        group="speech",
    ),
    Option(
        "normalize",
        "choice",
        "as the encoder was trained",
        "whether the encoder hears sound of zero mean and unit variance",
        choices=("as the encoder was trained", "on", "off"),
        group="speech",
    ),
)
# With --model, which the puppet does without
PORTRAIT = (
    Option(
        "preset",
        "choice",
        "exact",
        "exact: the original's 40 steps; balanced, fast and draft take about 1/2, 1/3 and 1/6 of the time",
        choices=("exact", "balanced", "fast", "draft"),
        group="sampling",
    ),
    Option(
        "steps",
        "whole",
        0,
        "denoising steps for each chunk of 16 frames; 0: the preset's own number",
        0,
        200,
        group="sampling",
    ),
    Option(
        "cfg", "number", 3.5, "how closely to follow picture and speech; 1 takes half the time", 1, 20, group="sampling"
    ),
    Option(
        "size",
        "whole",
        512,
        "side of the square that is generated, a multiple of 64; 256 is a quick draft",
        64,
        2048,
        group="sampling",
    ),
    Option(
        "square",
        "switch",
        False,
        "whether the film shows the generated square alone, not put back into the picture",
        group="sampling",
    ),
    *MOTION,
    *STEADINESS,
    *SPEECH,
    Option(
        "which_face",
        "choice",
        AUTO,
        "who speaks; auto: the face under --face-mask, or else the clearly largest; numbers count from the left",
        choices=(AUTO, "largest", *map(str, range(10))),
        group="portrait",
    ),
    Option(
        "framing",
        "choice",
        "face",
        "what is generated: a square around the face, or all of a square picture",
        choices=("face", "whole picture"),
        group="portrait",
    ),
    Option("face_expand", "number", 1.2, "size of the face's rectangle relative to the face", 0.5, 4, group="portrait"),
    Option("lip_expand", "number", 2.0, "size of the lips' rectangle relative to the lips", 0.5, 4, group="portrait"),
    Option(
        "identity",
        "choice",
        "from the picture",
        "from the picture: InsightFace sees to the likeness (non-commercial research only); neutral: without it, for "
        "drawings and animals too",
        choices=("from the picture", "neutral"),
        group="portrait",
    ),
    Option(
        "background",
        "file",
        None,
        "for two people in one picture: the other one's film, of the same picture, to put the square into",
        group="portrait",
    ),
    Option("vae", "file", None, "the VAE: sd-vae-ft-mse", folder=True, group="files"),
    Option(
        "audio_encoder",
        "file",
        None,
        "the folder of the speech encoder: chinese-wav2vec2-base for JoyHallo, wav2vec2-base-960h for Hallo",
        folder=True,
        group="files",
    ),
    Option("face_models", "file", None, "InsightFace's folder, for the identity", folder=True, group="files"),
    Option("separator", "file", None, "Kim_Vocal_2.onnx, for --separate-vocals", group="files"),
)
TALK = (
    Option(
        "model",
        "file",
        None,
        "a network of JoyHallo or Hallo makes the frames: its file, the name of a published one (joyhallo/net.pth, "
        "hallo/net.pth), or demo, the small one of drawn faces that comes along; without it the puppet",
        group="model",
    ),
    _seed(),
    *PUPPET,
    *PORTRAIT,
    Option(
        "lip_mask",
        "file",
        None,
        "a picture, white where the closed lips are: for drawings, animals, statues; with --face-mask",
        group="face",
    ),
    Option(
        "face_mask",
        "file",
        None,
        "a picture, white where the face is; alone it says which of several faces speaks",
        group="face",
    ),
    *_finders(),
    *_film(),
)

TRACKING = (
    Option(
        "which_face",
        "choice",
        "largest",
        "who is followed, decided in the first frame with faces; numbers count from the left",
        choices=("largest", "most central", *map(str, range(10))),
        group="face",
    ),
    Option("reference", "file", None, "a picture of the person who is meant, instead of --which-face", group="face"),
    Option(
        "detector",
        "choice",
        AUTO,
        "who searches; auto: MediaPipe. InsightFace tells people apart best, for non-commercial research only",
        choices=(AUTO, "MediaPipe", "InsightFace"),
        group="face",
    ),
    Option(
        "detection_size",
        "whole",
        0,
        "frames are searched at so many pixels along their longest side; 0: the detector's own number",
        0,
        4096,
        group="face",
    ),
    Option(
        "gaps",
        "choice",
        "interpolate",
        "where the face is not seen: bridge up to 0.6 s, keep the last box, or leave the picture alone",
        choices=("interpolate", "hold", "leave"),
        group="face",
    ),
    Option("cuts", "switch", True, "whether the video has cuts", group="face"),
    Option("face_models", "file", None, "InsightFace's folder, for --detector InsightFace", folder=True, group="files"),
    *_finders(),
)

REDUB = (
    _seed(),
    Option("steps", "whole", 0, "denoising steps of LatentSync; 0: its own number", 0, 200),
    Option("guidance", "number", 0.0, "how closely LatentSync follows the speech; 0: its own number", 0, 20),
    Option(
        "when_video_is_short",
        "choice",
        "loop",
        "what is shown if the speech lasts longer",
        choices=("loop", "bounce", "hold", "stretch", "stop"),
    ),
    Option(
        "when_video_is_long",
        "choice",
        "cut",
        "what is shown if the speech ends sooner: nothing, or the rest in silence",
        choices=("cut", "keep"),
    ),
    Option(
        "sync_offset",
        "number",
        0.0,
        "milliseconds by which the lips come later; 40 is as Wav2Lip was trained",
        -1000,
        1000,
    ),
    Option(
        "blend",
        "choice",
        "whole box",
        "what is replaced: all of the face's box as in the originals, the same with soft borders, or the mouth",
        choices=("whole box", "feather", "mouth"),
    ),
    Option(
        "silence",
        "choice",
        "model",
        "pauses: as the network hears them, as silence without breath, or the video's own mouth",
        choices=("model", "hold", "source"),
    ),
    Option("strength", "number", 1.0, "how strongly the mouth follows the speech: 1 as trained", 0, 2),
    Option("cover_tail", "switch", True, "whether the picture lasts as long as the speech; no: as in the originals"),
    Option("level_loudness", "switch", False, "whether the network hears a faint recording louder"),
    Option(
        "smoothing",
        "choice",
        "original",
        "how the face's box is steadied over time",
        choices=("original", "centred", "none"),
        group="face",
    ),
    *(
        Option(
            f"pad_{side}", "whole", pixels, f"pixels added to the face's box at its {side}", -1000, 1000, group="face"
        )
        for side, pixels in (("top", 0), ("bottom", 10), ("left", 0), ("right", 0))
    ),
    Option(
        "area",
        "choice",
        AUTO,
        "what of the face is made anew; LatentSync: mask to mask4, MuseTalk: jaw, raw, neck, box",
        choices=(AUTO, "mask", "mask2", "mask3", "mask4", "jaw", "raw", "neck", "box"),
        group="method",
    ),
    Option("shift", "whole", 0, "pixels by which the box starts lower", -200, 200, group="method"),
    Option(
        "reuse",
        "whole",
        1,
        "steps that share what LatentSync's deep layers found; 3 as its authors do",
        1,
        10,
        group="method",
    ),
    Option(
        "solver", "choice", "ddim", "how LatentSync denoises", choices=("ddim", "dpmpp_2m", "unipc"), group="method"
    ),
    Option(
        "long_sound",
        "choice",
        "blocks",
        "how long recordings are heard: 20 or 30 s at a time, or in parts that know their surroundings",
        choices=("blocks", "overlapped"),
        group="method",
    ),
    Option(
        "version",
        "choice",
        AUTO,
        "of LatentSync and MuseTalk, whose files do not say it; auto: by the name of the file",
        choices=(AUTO, "1.0", "1.5", "1.6"),
        group="method",
    ),
    Option(
        "box", "box", None, "where the face is in all frames, instead of searching: left,top,right,bottom", group="face"
    ),
    Option(
        "mask",
        "file",
        None,
        "a picture, white where something may change; alone it also says where the face is",
        group="face",
    ),
    *TRACKING,
    Option("vae", "file", None, "for LatentSync and MuseTalk: sd-vae-ft-mse", folder=True, group="files"),
    Option("whisper", "file", None, "for LatentSync and MuseTalk: the speech encoder", group="files"),
    Option("hubert", "file", None, "for Ultralight: the speech encoder", group="files"),
    Option("parser", "file", None, "for MuseTalk, if you like: the face parser", group="files"),
    *_film(),
)
