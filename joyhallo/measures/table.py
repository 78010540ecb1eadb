"""Every measure by name: what it tells, what it needs, and which control shows whether it tells anything.

A control is the same clip with its meaning taken away. A measure that a control passes as well says nothing there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..config import FPS

Better = Literal["higher", "lower", "zero", "truth"]  # zero: nearer to it; truth: nearer to that of real footage
Over = Literal["clips", "frames", "set"]  # what a set's mean is taken over; set: one figure of all its frames
Control = Literal["still", "shuffled", "shifted"]
Need = Literal["sound", "face", "mesh", "recogniser", "truth", "portrait", "source"]

STILL: Control = "still"  # the first frame all the time
SHUFFLED: Control = "shuffled"  # the sound of another clip, or, of one alone, its own from the middle on
SHIFTED: Control = "shifted"  # its own sound, later by SHIFT
SHIFT = 5  # frames
NEAR = 1  # frames by which a moved offset may be wrong


@dataclass(frozen=True)
class Measure:
    name: str
    title: str
    says: str
    better: Better
    unit: str = ""
    form: str = ".3f"
    judge: str = ""  # whose weights it takes; none: no weights, or those that come with this pack
    needs: tuple[Need, ...] = ()
    controls: tuple[Control, ...] = ()
    margin: float = 0.0  # by which a clip must be better than its control
    over: Over = "clips"
    ours: bool = field(default=False)  # not published by anyone else: never to be compared with others' figures


LIP_READER = (
    Measure("lip_sync", "Lip sync (ours)", "how well lips and sound fit, by our small lip reader; not Sync-C",
            "higher", needs=("sound", "face"), controls=(STILL, SHUFFLED), margin=0.03, ours=True),
    Measure("lip_offset", "Offset (ours)", "by how many frames the sound comes early, by the same lip reader",
            "zero", "frames", "+.1f", needs=("sound", "face"), controls=(SHIFTED,), ours=True),
)  # fmt: skip
SYNCNET = (
    Measure("sync_c", "Sync-C", "SyncNet's confidence that lips and sound fit; it grows with a clip's length",
            "higher", judge="syncnet", needs=("sound", "face"), controls=(STILL, SHUFFLED), margin=0.3),
    Measure("sync_d", "Sync-D", "SyncNet's distance of lips and sound", "lower", judge="syncnet",
            needs=("sound", "face"), controls=(STILL, SHUFFLED), margin=0.3),
    Measure("sync_offset", "Offset", "by how many frames the sound comes early, by SyncNet", "zero", "frames", "+.1f",
            judge="syncnet", needs=("sound", "face"), controls=(SHIFTED,)),
    Measure("sync_c_overlap", "Sync-C of overlaps", "the same confidence without the zeros past a clip's ends, which "
            "make it depend on length", "higher", judge="syncnet", needs=("sound", "face"),
            controls=(STILL, SHUFFLED), margin=0.3, ours=True),
)  # fmt: skip
STABLE_SYNCNET = (
    Measure("stable_sync", "StableSyncNet", "the cosine of lips and sound by LatentSync's judge", "higher",
            judge="stable_syncnet", needs=("sound", "face"), controls=(STILL, SHUFFLED), margin=0.05),
)  # fmt: skip
PIXELS = (
    Measure("subject", "Subject", "VBench's subject consistency: how alike frames are, by DINO", "higher", form=".4f",
            judge="dino", controls=(STILL,), over="frames"),
    Measure("background", "Background", "VBench's background consistency: how alike frames are, by CLIP", "higher",
            form=".4f", judge="clip", controls=(STILL,), over="frames"),
    Measure("smoothness", "Smooth", "VBench's motion smoothness: how well AMT-S guesses each second frame", "higher",
            form=".4f", judge="amt", controls=(STILL,)),
    Measure("smooth_linear", "Smooth, linear", "the same with the mean of both neighbours as the guess", "higher",
            form=".4f", controls=(STILL,), ours=True),
    Measure("flicker", "Flicker", "VBench's temporal flickering: how little a frame differs from the next", "higher",
            form=".4f", controls=(STILL,)),
    Measure("image_quality", "HyperIQA", "the quality of the first, middle and last frame, by HyperIQA", "higher",
            "of 100", ".1f", judge="hyperiqa"),
    Measure("sharpness", "Sharpness", "the face's fine detail, over that of the portrait", "truth", "x", ".2f",
            needs=("face", "portrait"), ours=True),
    Measure("drift", "Drift", "how far the face's colours move from the first second to the last", "lower", "levels",
            ".2f", needs=("face",), ours=True),
)  # fmt: skip
MESHES = (
    Measure("opening_follows", "Mouth and loudness", "the correlation of the mouth's opening with loudness, "
            "at its best lag", "higher", "", ".2f", needs=("sound", "mesh"), controls=(SHUFFLED,), margin=0.1,
            ours=True),
    Measure("opening_lag", "Mouth's lag", "by how much the mouth comes later than the loudness it follows", "zero",
            "ms", "+.0f", needs=("sound", "mesh"), controls=(SHIFTED,), ours=True),
    Measure("loudness_gap", "THEval lip sync", "the difference of mouth opening and loudness, each from 0 to 1, while "
            "somebody speaks", "truth", needs=("sound", "mesh"), controls=(SHUFFLED,)),
    Measure("silent_lips", "THEval silent lips", "how far lips move in silences", "truth", form=".4f",
            needs=("sound", "mesh")),
    Measure("lip_dynamics", "THEval lip dynamics", "how much lips change shape", "truth", needs=("mesh",)),
    Measure("brow_dynamics", "THEval brow dynamics", "how much brows move from frame to frame", "truth", form=".4f",
            needs=("mesh",)),
    Measure("head_motion", "Head motion", "THEval's formula of it, on angles that are estimated of the face's points",
            "truth", needs=("mesh",), ours=True),
    Measure("face_seen", "Face seen", "the share of frames that show the face", "higher", form=".3f", needs=("face",),
            ours=True),
)  # fmt: skip
LIKENESS = (
    Measure("likeness", "CSIM", "how alike the face and the portrait's are, by the face recogniser", "higher",
            needs=("recogniser", "portrait")),
    Measure("likeness_low", "CSIM, lowest 5 %", "the same, below which one frame of twenty lies", "higher",
            needs=("recogniser", "portrait")),
)  # fmt: skip
PAIRS = (
    Measure("psnr", "PSNR", "how near pixels are to the truth's", "higher", "dB", ".2f", needs=("truth",)),
    Measure("ssim", "SSIM", "how alike structures are to the truth's (Gaussian window)", "higher", form=".4f",
            needs=("truth",)),
    Measure("lmd", "LMD", "how far points of the mouth are from the truth's, over the distance of the eyes", "lower",
            form=".4f", needs=("truth", "mesh")),
    Measure("akd", "AKD", "the same of all points of the face", "lower", form=".4f", needs=("truth", "mesh")),
    Measure("opening_true", "Mouth and truth", "the correlation of the mouth's opening with the truth's", "higher",
            form=".2f", needs=("truth", "mesh"), ours=True),
    Measure("fid", "FID", "the Fréchet distance of all frames to the truth's, by Inception; whole frames", "lower",
            form=".2f", judge="inception", needs=("truth",), over="set"),
)  # fmt: skip
REDUBS = (
    Measure("leak", "Leak", "how much of the old mouth is left: the correlation with the source's opening that the new "
            "sound does not explain", "zero", form=".2f", needs=("sound", "mesh", "source"), ours=True),
    Measure("outside", "Changed outside", "how far pixels around the face are from the source's, root mean square",
            "lower", "levels", ".3f", needs=("face", "source"), ours=True),
)  # fmt: skip
QUALITY = (
    Measure("iqa", "IQA", "Q-Align's quality of frames, one a second, from 0 to 1", "higher", form=".4f",
            judge="qalign"),
    Measure("vqa", "VQA", "Q-Align's quality of the video, from 0 to 1", "higher", form=".4f", judge="qalign"),
)  # fmt: skip

MEASURES = {
    measure.name: measure
    for group in (LIP_READER, SYNCNET, STABLE_SYNCNET, PIXELS, MESHES, LIKENESS, PAIRS, REDUBS, QUALITY)
    for measure in group
}
CHOICES = {
    "all": tuple(MEASURES),
    "free": tuple(name for name, measure in MEASURES.items() if not measure.judge),
    "paper": ("iqa", "vqa", "sync_c", "sync_d", "smoothness", "subject", "background"),
    "wav2lip": ("sync_c", "sync_d", "fid"),
    "latentsync": ("fid", "ssim", "sync_c", "stable_sync", "image_quality"),
}


def follows(measure: Measure, moves: float) -> bool:
    """Whether an offset moved as much as the SHIFTED sound did, which came later; moves: in the measure's unit."""
    frames = moves * FPS / 1000 if measure.unit == "ms" else moves
    return abs(frames + SHIFT) <= NEAR


def gain(measure: Measure, value: float, control: float) -> float:
    """How much better a value is than a control's."""
    return value - control if measure.better == "higher" else control - value
