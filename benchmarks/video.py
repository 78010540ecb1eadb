"""What does it cost to write a video and to read it, and does memory stay flat while it grows?

    python -m benchmarks.video --json

Seconds for each second of video, 25 frames of 512 px a second with sound, at the quality "high". `plain` takes the same
encoder with the same settings frame by frame, as ComfyUI's own nodes do: to bytes, through PyAV's conversion, sound at
the end. `read` is the way back, in frames a second: `plain` decodes them with PyAV and converts each to bytes, `bytes`
does the same with our reader, `floats` are the batches that nodes take. `peak_mb` is what a process of its own needs
for each length beyond what it needed for a batch, while frames come from a generator; `sound_mb` of it is the
recording.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch.nn import functional as F

from joyhallo.film.read import Film
from joyhallo.film.write import FORMATS, LAYOUTS, write

FPS, RATE, BATCH = 25, 44_100, 8


def megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def batches(frames: int, px: int) -> Iterator[torch.Tensor]:
    """A soft picture with grain that moves by a pixel a frame."""
    torch.manual_seed(0)
    soft = F.interpolate(torch.rand(1, 3, 9, 9), size=(px, px), mode="bicubic")[0].permute(1, 2, 0)
    still = (soft + 0.02 * torch.randn(px, px, 3)).clamp(0, 1)
    for start in range(0, frames, BATCH):
        yield torch.stack([still.roll(i, 1) for i in range(start, min(start + BATCH, frames))])


def sound(seconds: float) -> torch.Tensor:
    return 0.3 * torch.sin(torch.arange(round(seconds * RATE)) / RATE * 2 * torch.pi * 440).expand(2, -1)


def ours(path: Path, frames: torch.Tensor, format: str) -> None:
    write(path, frames.split(BATCH), FPS, (sound(len(frames) / FPS), RATE), format)


def plain(path: Path, frames: torch.Tensor, format: str) -> None:
    import av

    facts = FORMATS[format]
    grade = facts.grades["high"]
    with av.open(str(path), "w", format=facts.container) as file:
        picture = file.add_stream(facts.video, rate=FPS, options=dict(grade.encoder))
        picture.width, picture.height, picture.pix_fmt = frames.shape[2], frames.shape[1], grade.pixels.name
        rate = RATE if not facts.rates or RATE in facts.rates else facts.rates[-1]
        track = file.add_stream(facts.audio, rate=rate)
        track.codec_context.layout = LAYOUTS[2]
        for frame in frames:
            pixels = av.VideoFrame.from_ndarray((frame * 255).clamp(0, 255).byte().numpy(), format="rgb24")
            file.mux(picture.encode(pixels.reformat(format=grade.pixels.name)))
        file.mux(picture.encode(None))
        heard = av.AudioFrame.from_ndarray(sound(len(frames) / FPS).contiguous().numpy(), "fltp", LAYOUTS[2])
        heard.sample_rate, heard.pts = RATE, 0
        resampler = av.AudioResampler(track.codec_context.format, LAYOUTS[2], rate)
        for piece in [*resampler.resample(heard), *resampler.resample(None)]:
            file.mux(track.encode(piece))
        file.mux(track.encode(None))


def speed(format: str, seconds: float, px: int, folder: Path) -> dict:
    """Both ways in turn, the better of two runs each."""
    frames = torch.cat(list(batches(round(seconds * FPS), px)))
    walls: dict[str, list[float]] = {"ours": [], "plain": []}
    cpus: dict[str, list[float]] = {"ours": [], "plain": []}
    size = 0
    for turn in range(2):
        for name, way in (("ours", ours), ("plain", plain)):
            path = folder / f"{name}{turn}.{format}"
            wall, cpu = time.perf_counter(), time.process_time()
            way(path, frames, format)
            walls[name].append((time.perf_counter() - wall) / seconds)
            cpus[name].append((time.process_time() - cpu) / seconds)
            size = path.stat().st_size if name == "ours" else size
            path.unlink()
    return {
        "seconds": min(walls["ours"]),
        "cpu_seconds": min(cpus["ours"]),
        "plain_seconds": min(walls["plain"]),
        "plain_cpu_seconds": min(cpus["plain"]),
        "ratio_of_cpu": min(cpus["ours"]) / min(cpus["plain"]),
        "mb_per_second": size / 2**20 / seconds,
    }


def reading(format: str, seconds: float, px: int, folder: Path) -> dict:
    """All ways in turn, the better of two runs each."""
    path = write(folder / f"read.{format}", batches(round(seconds * FPS), px), FPS, None, format)
    ways = {"plain": decoded, "bytes": lambda path: Film(path).pictures(), "floats": lambda path: Film(path).frames()}
    best = dict.fromkeys(ways, 0.0)
    for name in [*ways, *ways]:
        begun = time.perf_counter()
        for _ in ways[name](path):
            pass
        best[name] = max(best[name], seconds * FPS / (time.perf_counter() - begun))
    path.unlink()
    return {**best, "ratio": best["bytes"] / best["plain"]}


def decoded(path: Path) -> Iterator[object]:
    import av

    with av.open(str(path)) as file:
        file.streams.video[0].thread_type = "AUTO"
        for frame in file.decode(video=0):
            yield frame.to_ndarray(format="rgb24")


def memory(format: str, seconds: float, px: int, folder: Path) -> dict:
    write(folder / f"warm.{format}", batches(BATCH, px), FPS, (sound(0.1), RATE), format)
    before = megabytes()
    recording = sound(seconds).contiguous()
    write(folder / f"long.{format}", batches(round(seconds * FPS), px), FPS, (recording, RATE), format)
    return {"peak_mb": megabytes() - before, "sound_mb": recording.nbytes / 2**20}


def apart(format: str, seconds: float, px: int) -> dict:
    command = [sys.executable, "-m", "benchmarks.video", "--one", format, "--lengths", str(seconds), "--px", str(px)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--seconds", type=float, default=4, help="of video, for the speed")
    parser.add_argument("--lengths", type=float, nargs="+", default=[10, 60], help="seconds of video, for the memory")
    parser.add_argument("--px", type=int, default=512)
    parser.add_argument("--one", choices=FORMATS, help="measure the memory in this process")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.one:
            print(json.dumps(memory(arguments.one, arguments.lengths[0], arguments.px, Path(folder))))
            return
        figures: dict = {"device": f"cpu, {torch.get_num_threads()} threads", "torch": torch.__version__}
        for format in arguments.formats:  # first, for a process also counts what the one that started it held
            figures[format] = {f"{s:g} s": apart(format, s, arguments.px) for s in arguments.lengths}
        for format in arguments.formats:
            figures[format] |= speed(format, arguments.seconds, arguments.px, Path(folder))
            figures[format]["read"] = reading(format, arguments.seconds, arguments.px, Path(folder))
    print(json.dumps(figures, indent=None if arguments.json else 2))


if __name__ == "__main__":
    main()
