"""Speak one text with espeak-ng, as a separate program that needs only the standard library:

    python espeak.py < {"text", "voice", "rate", "pitch", "range"} > {"rate", "phonemes": [[sample, name], ...]} samples

The answer is a line of JSON, then 16-bit samples. Each text gets a process of its own, as espeak-ng's noise
depends on what it said before; and a crash of it affects nothing else.
"""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Iterator
from typing import Any

NAMES = ("libespeak-ng.so.1", "libespeak-ng.so", "libespeak-ng.dylib", "libespeak-ng.1.dylib", "libespeak-ng.dll")

# Of espeak's speak_lib.h
SYNCHRONOUS, PHONEME_EVENTS, WITHOUT_EXIT = 2, 0x1, 0x8000
RATE, PITCH, RANGE = 1, 3, 4
UTF8, PHONEME, END = 1, 7, 0

MISSING, WITHOUT_DATA, NO_SUCH_VOICE = 3, 4, 5  # exit codes


class Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", Id),
    )


Listener = ctypes.CFUNCTYPE(  # samples, their number, events
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(Event)
)


class Heard:
    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.phonemes: list[tuple[int, str]] = []  # by the sample at which they begin

    def listen(self, samples: Any, count: int, events: Any) -> int:
        if samples and count:
            self.pieces.append(ctypes.string_at(samples, 2 * count))
        at = 0
        while events[at].type != END:
            if events[at].type == PHONEME:
                self.phonemes.append((events[at].sample, events[at].id.string.decode("utf-8", "replace")))
            at += 1
        return 0


def main() -> None:
    wanted, heard = json.load(sys.stdin), Heard()
    library, listener = load(), Listener(heard.listen)
    rate = library.espeak_Initialize(SYNCHRONOUS, 0, None, PHONEME_EVENTS | WITHOUT_EXIT)
    if rate <= 0:
        sys.exit(WITHOUT_DATA)
    library.espeak_SetSynthCallback(listener)
    if library.espeak_SetVoiceByName(wanted["voice"].encode()):
        sys.exit(NO_SUCH_VOICE)
    for parameter, value in ((RATE, wanted["rate"]), (PITCH, wanted["pitch"]), (RANGE, wanted["range"])):
        library.espeak_SetParameter(parameter, value, 0)
    content = wanted["text"].encode() + b"\0"
    library.espeak_Synth(content, len(content), 0, 1, 0, UTF8, None, None)
    library.espeak_Synchronize()
    answer = json.dumps({"rate": rate, "phonemes": heard.phonemes}).encode()
    sys.stdout.buffer.write(answer + b"\n" + b"".join(heard.pieces))


def load() -> Any:
    for name in names():
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    sys.exit(MISSING)


def names() -> Iterator[str]:
    yield from NAMES
    from ctypes.util import find_library  # starts other programs: half the time of a sentence

    if found := find_library("espeak-ng"):
        yield found


if __name__ == "__main__":
    main()
