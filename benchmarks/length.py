"""Peak memory of a whole ComfyUI, from recording to file, for speech of any length.

    python -m benchmarks.length --seconds 10 60 600 --json

Each clip is made by a ComfyUI of its own, with the bundled small network, one step and 64 pixels. Linux only: the peak
is what the kernel noted. What was given back counts as given back: malloc is told to keep no large blocks, or it holds
50 MB more or less from run to run. ComfyUI itself keeps the sound in memory as long as it is loaded.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import wave
from pathlib import Path

from benchmarks import PLAIN_MALLOC
from tools.comfyui.server import Client, Server
from tools.comfyui.workflow import Graph
from tools.demo import prepare
from tools.demo_model.bundle import FOLDER

RATE = 16_000
MEGABYTE = 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, nargs="+", default=[10, 60, 600])
    parser.add_argument("--format", default="mp4")
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args()
    found = [measured(seconds, wanted.format) for seconds in wanted.seconds]
    first = found[0]
    for row in found:
        row["ratio"] = round(row["peak_mb"] / first["peak_mb"], 3)
        row["beside_sound"] = round((row["peak_mb"] - row["sound_mb"]) / (first["peak_mb"] - first["sound_mb"]), 3)
    if wanted.json:
        json.dump(found, sys.stdout, indent=2)
        return
    for row in found:
        print(" ".join(f"{name} {value}" for name, value in row.items()))


def measured(seconds: float, format: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        prepare(base)
        repeated(FOLDER / "speech.wav", base / "input" / "long.wav", seconds)
        with Server(base, environment=PLAIN_MALLOC) as server:
            begun = time.monotonic()
            run = Client(server.url).run(clip(format), timeout=7200)
            if run.status != "success":
                raise RuntimeError(run.message)
            peak = int(field(server.process.pid, "VmHWM")) / 1024
        return {
            "seconds": seconds,
            "peak_mb": round(peak, 1),
            "sound_mb": round(seconds * RATE * 4 / MEGABYTE, 1),
            "journal_mb": round(size(base / "user", "*.chunks"), 1),
            "file_mb": round(size(base / "output", "*.*"), 1),
            "wall_s": round(time.monotonic() - begun, 1),
        }


def field(process: int, name: str) -> str:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(f"{name}:"))


def size(folder: Path, pattern: str) -> float:
    return sum(path.stat().st_size for path in folder.rglob(pattern)) / MEGABYTE


def repeated(source: Path, target: Path, seconds: float) -> None:
    """Write repeated sound at 16 kHz, so that encoding it needs no second copy."""
    with wave.open(str(source)) as speech, wave.open(str(target), "wb") as long:
        long.setparams(speech.getparams()._replace(framerate=RATE))
        sound, missing = speech.readframes(speech.getnframes()), round(seconds * RATE) * speech.getsampwidth()
        while missing > 0:
            long.writeframes(sound[:missing])
            missing -= len(sound)


def clip(format: str) -> Graph:
    """The film of the demo, at its quickest."""
    graph = Graph()
    picture = graph.add("LoadImage", image="portrait.png")
    sound = graph.add("LoadAudio", audio="long.wav")
    demo = {"checkpoint": "demo", "audio_encoder": "demo", "face_models": "none", "vae": "demo"}
    models = graph.add("LoadJoyHalloModels", **demo, weight_dtype="auto", download=False)
    masks = {
        f"{name}_mask": graph.add("LoadImageMask", image=f"{name}_mask.png", channel="red")[0]
        for name in ("face", "lip")
    }
    found = {"which_face": "auto", "framing": "whole picture", "face_expand": 1.2, "lip_expand": 2.0}
    face = graph.add("FaceMaskPrep", image=picture[0], face_analysis=models[2], identity="neutral", **found, **masks)
    heard = {"separate_vocals": "off", "loudness": "as recorded", "normalize": "as the encoder was trained"}
    speech = graph.add("ChineseWav2Vec2Encode", audio_encoder=models[1], audio=sound[0], **heard)
    sockets = {"model": models[0], "vae": models[3], "face": face[0], "speech": speech[0]}
    weights = {"pose_weight": 1.0, "expression_weight": 1.0, "lip_weight": 1.0}
    quick = {"seed": 1, "preset": "exact", "steps": 1, "cfg": 1.0, "size": 64, "picture": "square", "resume": True}
    sampler = graph.add("JoyHalloSampler", **sockets, **weights, **quick)
    kept = {"fps": 25.0, "filename_prefix": "long", "format": format, "quality": "small"}
    graph.add("SaveTalkingVideo", video=sampler[0], audio=sound[0], **kept)
    return graph


if __name__ == "__main__":
    main()
