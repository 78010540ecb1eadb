"""The options of every command, and the help that teaches them. Nothing here takes long to import."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from .jobs import DEVICES, PRECISIONS
from .option import Option, add_to
from .options import REDUB, TALK, TRACKING

PROGRAM = "python -m joyhallo"
CODES = "exit codes: 0 all is good, 1 something failed on the way, 2 nothing could be begun"

COMMANDS = {  # in the order in which they are listed
    "talk": "let a picture speak: as a puppet, at once, or through JoyHallo and Hallo",
    "redub": "give a video the lips of another recording",
    "batch": "do many of both, from a table: resumed, in processes, on Ray or ComfyUI",
    "track": "follow a face through a video: report, boxes, contact sheet",
    "models": "which model files are there, which are missing; fetch them",
    "score": "measure how good videos are",
    "convert": "make a safetensors file of a checkpoint",
}
DELEGATED = ("score", "convert")  # whose options are those of another program

TALK_HELP = """Let a picture speak.

The puppet: without --model the picture's own pixels move with the speech, in any language. The mouth follows the sound,
eyes blink, the head sways, brows rise with stressed words. No graphics card and no large model are needed, only
MediaPipe's face landmarker (4 MB), which --fetch downloads once. A face seen from the front, sharp and with closed
lips, speaks best. For drawings, animals and statues paint --lip-mask and --face-mask, which need no landmarker.

JoyHallo and Hallo: with --model every frame is made anew, 16 at a time, and put back into the picture. That takes a
graphics card with 8 GB, or much patience, and some 6 GB of files: the network, a VAE, a speech encoder, and models that
find the face and tell who it is. Give the files that you have, or let --fetch download those that are missing; without
it a list says what they are. Those of the face are for non-commercial research only: --identity neutral does without
them. Length costs no memory, and after a kill the same command goes on with the chunk that was being made.
"""
TALK_EXAMPLE = """examples:
  python -m joyhallo talk portrait.jpg speech.wav -o talking.mp4 --fetch
  python -m joyhallo talk portrait.jpg speech.wav -o talking.mp4 --model joyhallo/net.pth --fetch --preset balanced
  python -m joyhallo talk portrait.jpg speech.wav -o talking.mp4 --model net.pth --vae sd-vae-ft-mse \\
      --audio-encoder chinese-wav2vec2-base --identity neutral --rest-in-pauses yes --hold-colours yes
  python -m joyhallo talk demo_model/portrait.png demo_model/speech.wav -o demo.mp4 --model demo \\
      --identity neutral --size 128 --steps 2 --cfg 1 --lip-weight 1.5
  python -m joyhallo talk anna.png hello.mp3 -o anna.mp4 --expressiveness 1.4 --sway 0.5 --seed 7
  python -m joyhallo talk statue.png speech.wav -o statue.mp4 --lip-mask lips.png --face-mask face.png
"""
REDUB_HELP = """Give a video, or a picture, the lips of another recording.

--model is a file of Wav2Lip, MuseTalk, LatentSync or Ultralight, recognised by what it holds, or the name of a
published one, which --fetch downloads together with what it works with. Mind its licence: Wav2Lip's weights are for
research and personal use only. The face is followed across cuts; frames without it stay as they were, to the last bit;
memory does not grow with length. What a video says of being made by AI is kept.

A film that takes longer than some seconds keeps what is finished in FILE.unfinished: after a crash or Ctrl-C the same
command goes on from there, and nothing stays once the film is whole. --workers N shares one film among N processes,
each with its own copy of the model; the result is the same to the last bit as with one.
"""
REDUB_EXAMPLE = """examples:
  python -m joyhallo redub film.mp4 speech.wav -o redubbed.mp4 --model wav2lip/wav2lip_gan.pth --fetch \\
      --sync-offset 40 --blend mouth --smoothing centred --silence hold
  python -m joyhallo redub film.mp4 speech.wav -o redubbed.mp4 --model latentsync-1.6/latentsync_unet.pt --device cuda
  python -m joyhallo redub drawing.mp4 speech.wav -o out.mp4 --model wav2lip_gan.pth --box 120,80,260,250
  python -m joyhallo redub lecture.mp4 translated.wav -o lecture_zh.mp4 --model wav2lip_gan.pth --workers 4
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

With a column model, or --set model=joyhallo/net.pth for all, pictures talk through JoyHallo or Hallo.

The folder gets the films, manifest.jsonl (a line for each attempt: state, file, seconds, seed, error) and index.html.
Run the same command again, after a crash, a kill or a change of the table: only what is missing or has changed is done.
A row that fails stops no other. --score adds to each film how well its lips fit its sound, by the bundled lip reader.

With --servers the films are made by ComfyUI servers that have these nodes: the same table, the same films. One that
dies loses no row. With --workflow a row fills any workflow of yours, exported with Export (API): columns are inputs,
by the title of their node or by its #number; files are uploaded, output names the film.

  Load Audio.audio,Load Image.image,#7.seed,output
  speech/hello.wav,portraits/anna.png,7,anna_hello.mp4
"""
BATCH_EXAMPLE = """examples:
  python -m joyhallo batch table.csv -o films --fetch
  python -m joyhallo batch table.csv -o films --workers 4 --set model=wav2lip_gan.pth --set blend=mouth
  python -m joyhallo batch table.jsonl -o films --ray auto --gpus 1
  python -m joyhallo batch table.csv -o films --servers http://10.0.0.1:8188,http://10.0.0.2:8188
  python -m joyhallo batch table.csv -o films --servers http://10.0.0.1:8188 --workflow workflow_api.json
  python -m joyhallo batch table.csv -o films --check
  python -m joyhallo batch table.csv -o films --score
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
    _resume(made)
    _common(made)


def _redub(made: argparse.ArgumentParser) -> None:
    made.add_argument("video", type=Path, metavar="VIDEO", help="a video of any length, size and rate, or a picture")
    made.add_argument("sound", type=Path, metavar="SOUND", help="speech: WAV, FLAC, MP3, OGG, or a video with sound")
    _output(made)
    made.add_argument("--model", type=Path, required=True, metavar="FILE", help="the network, or a published name")
    _options(made, REDUB)
    _resume(made)
    _common(made)
    who = made.add_argument_group("who works")
    who.add_argument("--workers", type=int, default=0, metavar="N", help="processes that share the film (default: 0)")
    who.add_argument("--ray", metavar="ADDRESS", help='a Ray cluster that shares it, as for batch; or "local"')
    who.add_argument("--gpus", type=float, default=0.0, metavar="N", help="graphics cards of each worker on Ray")


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
    made.add_argument(
        "--score", action="store_true",
        help="measure the lip sync of films that have no score yet, on this machine; one without a face stays done",
    )  # fmt: skip
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
    _resume(made)
    who.add_argument(
        "--servers", metavar="URL,URL", help="ComfyUI servers with these nodes, or for --workflow with its"
    )
    who.add_argument(
        "--patience", type=float, default=300.0, metavar="S",
        help="seconds that are waited for a server when none is left (default: 300)",
    )  # fmt: skip
    filled = made.add_argument_group("rows that fill a workflow")
    filled.add_argument("--workflow", type=Path, metavar="FILE.json", help="of ComfyUI, exported with Export (API)")
    filled.add_argument("--take", metavar="NODE", help="title or #number of the node whose film is taken, not "
                        "the last that is saved; also a column")  # fmt: skip
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


def _resume(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "--no-resume",
        dest="resume",
        action="store_false",
        help="keep nothing beside an unfinished film of a model, which then begins anew after a stop",
    )


def _places(made: argparse.ArgumentParser) -> None:
    made.add_argument("--models", type=Path, metavar="DIR", help="the folder of model files; see the command models")
    made.add_argument("--fetch", action="store_true", help="download what is missing, once")
    _json(made)


def _json(made: argparse.ArgumentParser) -> None:
    made.add_argument("--json", action="store_true", help="the result as JSON")
