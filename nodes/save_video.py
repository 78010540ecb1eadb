"""SaveTalkingVideo: writes frames and sound to a file in ComfyUI's output folder and shows it in the node."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.utils
import folder_paths
from comfy.cli_args import args
from comfy_api.latest import io, ui
from torch import Tensor

from ..joyhallo.faces.boxes import Size
from ..joyhallo.film.write import FORMATS, QUALITIES, VideoError, check, write
from ..joyhallo.libraries import brief
from .inputs import checked
from .labels import VISIBLE, Wishes
from .preview import tell
from .sockets import chosen, schema
from .video import Footage, SavedVideo, as_sound, labelling

log = logging.getLogger(__name__)

ABSENT = object()
LONGEST = 200  # bytes in a name of `filename_prefix`; what is added to it is shorter than the rest


class SaveTalkingVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "SaveTalkingVideo",
            display_name="Save Talking Video",
            description=(
                "Saves frames, or a video, together with sound in ComfyUI's output folder. The workflow is saved in "
                "the file: drop an mp4, mov or webm on the canvas to get it back."
            ),
            inputs=[
                io.Image.Input(
                    "frames",
                    optional=True,
                    lazy=True,
                    tooltip="Pictures, in order, from an upscaler, say. Transparent areas become white. Connect "
                    "this or a video, not both.",
                ),
                io.Video.Input(
                    "video",
                    optional=True,
                    lazy=True,
                    tooltip="The video of JoyHallo Sampler, or any other. It is read a few frames at a time, however "
                    "long it is. Connect this or frames, not both.",
                ),
                io.Audio.Input(
                    "audio",
                    optional=True,
                    tooltip="The sound of the video, as you loaded it: sample rate and channels are kept where the "
                    "format allows. Sound longer than the picture is cut off, shorter sound ends in silence. If "
                    "not connected, a video keeps its own sound, and frames stay silent.",
                ),
                io.Float.Input(
                    "fps",
                    default=25.0,
                    min=0.01,
                    max=1000.0,
                    step=0.001,
                    tooltip="Frames per second. JoyHallo makes lips for 25: with another number they lose sync with "
                    "the sound. 23.976 and 29.97 mean the exact rates of film and television. Ignored for a video, "
                    "which has its own rate.",
                ),
                io.String.Input(
                    "filename_prefix",
                    default="video/JoyHallo",
                    tooltip="Folder and beginning of the name: video/JoyHallo gives output/video/JoyHallo_00001_.mp4, "
                    "then JoyHallo_00002_.mp4. Nothing is ever overwritten. %date:yyyy-MM-dd% and the like work as in "
                    "other nodes.",
                ),
                io.Combo.Input(
                    "format",
                    options=list(FORMATS),
                    default="mp4",
                    tooltip="mp4 (H.264, AAC) plays everywhere. webm (VP9, Opus) is smaller and plays in browsers. mov "
                    "(ProRes, uncompressed sound) is for editing programs. mkv (FFV1, FLAC) loses nothing. "
                    "Browsers do not play mov and mkv, so the node shows no picture for them; an mkv holds the "
                    "workflow too, but the canvas cannot read it.",
                ),
                io.Combo.Input(
                    "quality",
                    options=list(QUALITIES),
                    default="high",
                    tooltip="How much detail is kept, from best to small. mp4 and webm: how strongly picture and sound "
                    "are compressed; high already looks like the frames. mov: ProRes 4444, 422 HQ, 422 or 422 "
                    "LT. mkv: the frames with 16, 12, 10 or 8 bits a colour; 8 is what a screen shows, 16 is for "
                    "grading.",
                ),
                io.Combo.Input(
                    "label",
                    options=list(VISIBLE),
                    default="off",
                    optional=True,
                    tooltip="Words in the upper left corner, as large as Chinese rules ask: on the first 2 s or all "
                    "the time. Whatever you choose, the metadata of the file says that the sampler's videos, and "
                    "frames, are made by AI (Settings, JoyHallo, has a switch for it). Other videos keep the labels "
                    "that they have; they get this one only if you choose words here.",
                ),
            ],
            outputs=[
                io.Video.Output(
                    "saved",
                    display_name="video",
                    tooltip="The saved file, for Save Video or Get Video Components, say.",
                )
            ],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, frames: object = ABSENT, video: object = ABSENT) -> bool | str:
        """Check inputs before anything runs; connected ones arrive as None."""
        return _one_of(frames is not ABSENT, video is not ABSENT) or True

    @classmethod
    def fingerprint_inputs(cls, **_: Any) -> str:
        """A workflow that is run again under other Settings saves another file."""
        return str(Wishes.now())

    @classmethod
    @checked
    def check_lazy_status(
        cls,
        fps: float,
        filename_prefix: str,
        format: str,
        quality: str,
        audio: Any = None,
        frames: Any = ABSENT,
        video: Any = ABSENT,
        label: str = "off",
    ) -> list[str]:
        """Check all else before the frames are made, which may take minutes."""
        check(fps, as_sound(audio))
        _check_choices(filename_prefix, format, quality, label)
        return [name for name, value in (("frames", frames), ("video", video)) if value is None]

    @classmethod
    @checked
    def execute(
        cls,
        fps: float,
        filename_prefix: str,
        format: str,
        quality: str,
        frames: Tensor | None = None,
        video: Any = None,
        audio: Any = None,
        label: str = "off",
    ) -> io.NodeOutput:
        if problem := _one_of(frames is not None, video is not None):
            raise VideoError(problem)
        footage = Footage.of(video) if frames is None else Footage.of_frames(frames, fps)
        sound = as_sound(audio) or footage.sound()
        check(footage.rate, sound)
        _check_choices(filename_prefix, format, quality, label)
        folder, name, counter, subfolder = place(filename_prefix, footage.size)
        labels = labelling(video, format, VISIBLE[label])
        names = (Path(folder, f"{name}_{number:05}_.{format}") for number in count(counter))
        path = write(names, _watched(footage), footage.rate, sound, format, quality, cls._workflow(), labels.labels)
        if told := labels.told():
            log.info(told)
            tell(told, cls.hidden.unique_id)
        shown = ui.PreviewVideo([ui.SavedResult(path.name, subfolder, io.FolderType.output)])
        return io.NodeOutput(SavedVideo(str(path)), ui=shown)

    @classmethod
    def _workflow(cls) -> Mapping[str, Any]:
        """The metadata from which ComfyUI restores a graph."""
        if args.disable_metadata:
            return {}
        metadata = dict(cls.hidden.extra_pnginfo or {})
        return metadata if cls.hidden.prompt is None else {**metadata, "prompt": cls.hidden.prompt}


def _one_of(frames: bool, video: bool) -> str:
    """The error, if not exactly one of the two is connected."""
    if frames and video:
        return "Both frames and a video are connected; disconnect one of them."
    return "" if frames or video else "Neither frames nor a video are connected; connect one of them."


def _check_choices(prefix: str, format: str, quality: str, label: str) -> None:
    chosen(FORMATS, format, "format")
    chosen(dict.fromkeys(QUALITIES), quality, "quality")
    chosen(VISIBLE, label, "label")
    check_prefix(prefix)


def check_prefix(prefix: str) -> None:
    """Whether files of ComfyUI's output folder can have such names."""
    if "\0" in prefix:
        raise VideoError(f"`filename_prefix` {prefix!r} holds a character of code 0; take it out.")
    output = os.path.abspath(folder_paths.get_output_directory())
    if not Path(os.path.abspath(os.path.join(output, prefix))).is_relative_to(output):
        raise VideoError(
            f"`filename_prefix` {prefix!r} leads out of the output folder; expected a place in it, like video/JoyHallo."
        )
    long = next((part for part in re.split(r"[/\\]", prefix) if len(part.encode()) > LONGEST), None)
    if long is not None:
        raise VideoError(
            f"`filename_prefix` has a name of {len(long.encode())} bytes in it ({long:.20}...); expected {LONGEST} at "
            "most, since a disk takes 255 with number and ending. Shorten it."
        )


def place(prefix: str, size: Size) -> tuple[str, str, int, str]:
    """Folder, beginning of the name, next number, subfolder."""
    try:
        found = folder_paths.get_save_image_path(prefix, folder_paths.get_output_directory(), *size)
    except (OSError, ValueError) as error:
        raise VideoError(
            f"`filename_prefix` {prefix!r} cannot be used in the output folder ({brief(error)}); choose another name."
        ) from error
    return found[:4]


def _watched(footage: Footage) -> Iterator[Tensor]:
    bar = comfy.utils.ProgressBar(footage.count)
    for batch in footage.batches:
        comfy.model_management.throw_exception_if_processing_interrupted()
        yield batch
        bar.update(len(batch))
