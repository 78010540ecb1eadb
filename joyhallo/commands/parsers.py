"""The options of every command, and the help that teaches them. Nothing here takes long to import."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from .jobs import DEVICES, PRECISIONS
from .options import REDUB, TALK, TRACKING, Option, add_to

PROGRAM = "python -m joyhallo"
CODES = "exit codes: 0 all is good, 1 something failed on the way, 2 nothing could be begun"

COMMANDS = {  # in the order in which they are listed
    "talk": "let a picture speak, at once, on any processor",
    "redub": "give a video the lips of another recording",
    "batch": "do many of both, from a table: resumed, in processes or on Ray",
    "track": "follow a face through a video: report, boxes, contact sheet",
    "models": "which model files are there, which are missing; fetch them",
    "score": "measure how good videos are",
    "convert": "make a safetensors file of a checkpoint",
}
DELEGATED = ("score", "convert")  # whose options are those of another program

TALK_HELP = """Let a picture speak.

The picture's own pixels move with the speech, in any language: the mouth follows the sound, eyes blink, the head sways,
brows rise with stressed words. No graphics card and no large model are needed, only MediaPipe's face landmarker (4 MB),
which --fetch downloads once. A face seen from the front, sharp and with closed lips, speaks best. For drawings, animals
and statues paint --lip-mask and --face-mask, which need no landmarker.
"""
TALK_EXAMPLE = """examples:
  python -m joyhallo talk portrait.jpg speech.wav -o talking.mp4 --fetch
  python -m joyhallo talk anna.png hello.mp3 -o anna.mp4 --expressiveness 1.4 --sway 0.5 --seed 7
  python -m joyhallo talk statue.png speech.wav -o statue.mp4 --lip-mask lips.png --face-mask face.png
"""
REDUB_HELP = """Give a video, or a picture, the lips of another recording.

--model is a file of Wav2Lip, MuseTalk, LatentSync or Ultralight, recognised by what it holds, or the name of a
published one, which --fetch downloads together with what it works with. Mind its licence: Wav2Lip's weights are for
research and personal use only. The face is followed across cuts; frames without it stay as they were, to the last bit;
memory does not grow with length. What a video says of being made by AI is kept.
"""
REDUB_EXAMPLE = """examples:
  python -m joyhallo redub film.mp4 speech.wav -o redubbed.mp4 --model wav2lip/wav2lip_gan.pth --fetch \\
      --sync-offset 40 --blend mouth --smoothing centred --silence hold
  python -m joyhallo redub film.mp4 speech.wav -o redubbed.mp4 --model latentsync-1.6/latentsync_unet.pt --device cuda
  python -m joyhallo redub drawing.mp4 speech.wav -o out.mp4 --model wav2lip_gan.pth --box 120,80,260,250
"""
TRACK_HELP = """Follow one face through a video, across cuts and other people, and say where it is.

Look at the contact sheet before a long redub: it shows frames spread over the video, with the box of the face, and
where the face is lost.
"""
TRACK_EXAMPLE = """examples:
  python -m joyhallo track film.mp4 --sheet sheet.png --boxes boxes.json
  python -m joyhallo track film.mp4 --which-face 1 --json
"""
MODELS_HELP = """Which model files are there, which are missing, how large they are and under which licence.

They are looked for in --models, or in the folder that the environment variable JOYHALLO_MODELS names, or in ComfyUI's
models/joyhallo where this pack lies in custom_nodes, or in pretrained_models in the current folder. Nothing is
downloaded unless you ask. Where Hugging Face is blocked, set HF_ENDPOINT to a mirror, as https://hf-mirror.com.
"""
MODELS_EXAMPLE = """examples:
  python -m joyhallo models
  python -m joyhallo models --fetch face_landmarker
  python -m joyhallo models --fetch wav2lip/wav2lip_gan.pth
"""
BATCH_HELP = """Make a film of every row of a table.

The table is CSV (with a line of names; Excel's is fine) or JSON lines. A row has a picture, which talks, or a video,
which is redubbed, and a sound; any other column is an option by its name, as --help of talk and redub lists them. Paths
are taken from the table's own folder. The whole table is checked before any work, and each problem is told with its row
and column.

  picture,sound,output,seed
  portraits/anna.png,speech/hello.wav,anna_hello.mp4,7
  portraits/王芳.jpg,speech/你好.wav,,8

The folder gets the films, manifest.jsonl (a line for each attempt: state, file, seconds, seed, error) and index.html.
Run the same command again, after a crash, a kill or a change of the table: only what is missing or has changed is done.
A row that fails stops no other.
"""
BATCH_EXAMPLE = """examples:
  python -m joyhallo batch table.csv -o films --fetch
  python -m joyhallo batch table.csv -o films --workers 4 --set model=wav2lip_gan.pth --set blend=mouth
  python -m joyhallo batch table.jsonl -o films --ray auto --gpus 1
  python -m joyhallo batch table.csv -o films --check
"""


def parser() -> argparse.ArgumentParser:
    listed = "\n".join(f"  {name:<9} {says}" for name, says in COMMANDS.items())
    top = argparse.ArgumentParser(
        prog=PROGRAM,
        description=f"Pictures that speak, and videos with new lips.\n\ncommands:\n{listed}",
        epilog=f"{PROGRAM} COMMAND --help explains a command, with examples.\n{CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage=f"{PROGRAM} COMMAND ...",
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND", help=argparse.SUPPRESS)
    for name, add in ADDED.items():
        describe, example, fill = add
        made = commands.add_parser(
            name,
            prog=f"{PROGRAM} {name}",
            description=describe,
            epilog=f"{example}\n{CODES}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            add_help=True,
        )
        fill(made)
    return top


def _talk(made: argparse.ArgumentParser) -> None:
    made.add_argument("picture", type=Path, metavar="PICTURE", help="a photo, painting, drawing or statue")
    made.add_argument("sound", type=Path, metavar="SOUND", help="speech: WAV, FLAC, MP3, OGG, or a video with sound")
    _output(made)
    _options(made, TALK)
    _common(made)


def _redub(made: argparse.ArgumentParser) -> None:
    made.add_argument("video", type=Path, metavar="VIDEO", help="a video of any length, size and rate, or a picture")
    made.add_argument("sound", type=Path, metavar="SOUND", help="speech: WAV, FLAC, MP3, OGG, or a video with sound")
    _output(made)
    made.add_argument("--model", type=Path, required=True, metavar="FILE", help="the network, or a published name")
    _options(made, REDUB)
    _common(made)


def _track(made: argparse.ArgumentParser) -> None:
    made.add_argument("video", type=Path, metavar="VIDEO")
    made.add_argument(
        "--boxes", type=Path, metavar="FILE.json", help="write the box of each frame, null without a face"
    )
    made.add_argument("--sheet", type=Path, metavar="FILE.png", help="write a contact sheet")
    made.add_argument("--force", action="store_true", help="replace these files if they exist")
    _options(made, TRACKING)
    _places(made)


def _models(made: argparse.ArgumentParser) -> None:
    made.add_argument("--models", type=Path, metavar="DIR", help="the folder of model files")
    made.add_argument("--fetch", action="append", default=[], metavar="NAME", help="download what this name lacks")
    _json(made)


def _batch(made: argparse.ArgumentParser) -> None:
    made.add_argument("table", type=Path, metavar="TABLE", help="a .csv or .jsonl file")
    made.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="the folder of films")
    made.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a value for all rows that have none"
    )
    made.add_argument("--encoding", default="utf-8", metavar="NAME", help="of a table that is not UTF-8: gbk, say")
    made.add_argument("--check", action="store_true", help="check the table, say what would be done, and do nothing")
    who = made.add_argument_group("who works")
    who.add_argument(
        "--workers",
        type=int,
        default=0,
        metavar="N",
        help="processes, or with --ray actors at most; 0: this process, or as many as there is room for (default: 0)",
    )
    who.add_argument("--ray", metavar="ADDRESS", help='a Ray cluster: "auto", its address, or "local" for a new one')
    who.add_argument("--gpus", type=float, default=0.0, metavar="N", help="graphics cards of each worker on Ray")
    _common(made, force=False)


ADDED: dict[str, tuple[str, str, Callable[[argparse.ArgumentParser], None]]] = {
    "talk": (TALK_HELP, TALK_EXAMPLE, _talk),
    "redub": (REDUB_HELP, REDUB_EXAMPLE, _redub),
    "batch": (BATCH_HELP, BATCH_EXAMPLE, _batch),
    "track": (TRACK_HELP, TRACK_EXAMPLE, _track),
    "models": (MODELS_HELP, MODELS_EXAMPLE, _models),
}


def _output(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="FILE",
        help="the film: .mp4, .webm, .mov or .mkv (lossless)",
    )


def _options(made: argparse.ArgumentParser, options: Sequence[Option]) -> None:
    groups = dict[str, argparse._ArgumentGroup]()

    def group(title: str) -> argparse._ArgumentGroup:
        if title not in groups:
            groups[title] = made.add_argument_group(title)
        return groups[title]

    add_to(group, options)


def _common(made: argparse.ArgumentParser, force: bool = True) -> None:
    if force:
        made.add_argument("--force", action="store_true", help="replace the output if it exists")
    how = made.add_argument_group("where it computes")
    how.add_argument("--device", choices=DEVICES, default="auto", help="auto: a graphics card if there is one")
    how.add_argument(
        "--weight-dtype", choices=PRECISIONS, default="auto", help="auto: fp32 on a processor, fp16 on a card"
    )
    _places(made)


def _places(made: argparse.ArgumentParser) -> None:
    made.add_argument("--models", type=Path, metavar="DIR", help="the folder of model files; see the command models")
    made.add_argument("--fetch", action="store_true", help="download what is missing, once")
    _json(made)


def _json(made: argparse.ArgumentParser) -> None:
    made.add_argument("--json", action="store_true", help="the result as JSON")
