"""The cost of encoding speech: features and separation per minute of sound, memory by length, and imports.

    python -m benchmarks.speech --minutes 1 10 60 --json

The encoder has chinese-wav2vec2-base's sizes and cheap random weights: speed and memory do not depend on them. The
separator's network does nothing, so its seconds are those of everything around it. Peak memory is that of a process of
its own for each length, less what it held before the recording came; `signal_mb` of it is the recording at 16 kHz.
`--width 96` makes a narrow encoder, for lengths that take too long at full size: what grows with the length shows all
the same.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import torch

MODULES = ("audio", "speech", "vocals", "loudness")
CHUNK = 16


def megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def cheap_encoder(width: int):
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    from joyhallo.sound.wav2vec2 import wrap_encoder

    sizes = {"hidden_size": width, "num_attention_heads": width // 64 or 1, "intermediate_size": 4 * width}
    narrow = {"conv_dim": [width] * 7, "num_conv_pos_embedding_groups": 8} if width < 512 else {}
    torch.manual_seed(0)
    return wrap_encoder(Wav2Vec2Model(Wav2Vec2Config(**sizes, **narrow)).eval().requires_grad_(False), name="cheap")


def signal(minutes: float, rate: int, channels: int) -> torch.Tensor:
    sound = torch.empty(channels, round(minutes * 60 * rate))
    for block in sound.split(1 << 20, dim=1):
        block.normal_().mul_(0.1)
    return sound


def features(minutes: float, width: int) -> dict:
    from joyhallo.sound.audio import Recording
    from joyhallo.sound.wav2vec2 import encode

    encoder = cheap_encoder(width)
    encode(encoder, Recording(signal(0.05, 16_000, 1)[0]))  # warms up
    before = megabytes()
    recording = Recording(signal(minutes, 16_000, 1)[0])
    begin, cpu = time.perf_counter(), time.process_time()
    speech = encode(encoder, recording)
    for start in range(0, speech.rows, CHUNK):
        speech.windows(start, start + CHUNK).contiguous()
    return {
        "seconds_per_minute": (time.perf_counter() - begin) / minutes,
        "cpu_seconds_per_minute": (time.process_time() - cpu) / minutes,
        "peak_mb": megabytes() - before,
        "signal_mb": recording.samples.nbytes / 2**20,
    }


def separation(minutes: float, _: int) -> dict:
    from joyhallo.sound.vocals import Separator, isolated

    separator = Separator("nothing", lambda spectrum: spectrum)
    isolated(separator, signal(0.05, 44_100, 2), 44_100)
    sound = signal(minutes, 44_100, 2)
    before = megabytes()
    begin, cpu = time.perf_counter(), time.process_time()
    voice = isolated(separator, sound, 44_100)
    return {
        "seconds_per_minute": (time.perf_counter() - begin) / minutes,
        "cpu_seconds_per_minute": (time.process_time() - cpu) / minutes,
        "peak_mb": megabytes() - before,
        "signal_mb": voice.nbytes / 2**20,
    }


def import_seconds(module: str) -> float:
    """Import time in a new process, without torch."""
    code = f"import time, torch; t = time.perf_counter(); import joyhallo.{module}; print(time.perf_counter() - t)"
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def apart(what: str, minutes: float, width: int) -> dict:
    command = [sys.executable, "-m", "benchmarks.speech", "--one", what, "--minutes", str(minutes)]
    done = subprocess.run([*command, "--width", str(width)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 10])
    parser.add_argument("--width", type=int, default=768, help="channels of the encoder")
    parser.add_argument("--one", choices=("features", "separation"), help="measure in this process")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    arguments = parser.parse_args()
    if arguments.one:
        measure = features if arguments.one == "features" else separation
        print(json.dumps(measure(arguments.minutes[0], arguments.width)))
        return
    figures = {
        "device": f"cpu, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "width": arguments.width,
        "import_seconds": {module: import_seconds(module) for module in MODULES},
    }
    for what in ("features", "separation"):
        figures[what] = {f"{m:g} min": apart(what, m, arguments.width) for m in arguments.minutes}
    print(json.dumps(figures, indent=None if arguments.json else 2))


if __name__ == "__main__":
    main()
