"""What papers report, to be printed beside: data, not a target. No test set of theirs is public."""

from __future__ import annotations

NAMES = ("iqa", "vqa", "sync_c", "sync_d", "smoothness", "subject", "background")
JOYHALLO = {  # arXiv 2409.13268, tables 1 and 2; its distance may be SyncNet's median, as D and C add up to too much
    "Hallo, Mandarin": (0.7865, 0.8563, 5.7420, 13.8140, 0.9924, 0.9855, 0.9651),
    "JoyHallo, Mandarin": (0.7781, 0.8566, 6.1596, 14.2053, 0.9925, 0.9864, 0.9627),
    "Hallo, English": (0.7779, 0.8471, 4.4093, 13.2340, 0.9921, 0.9814, 0.9649),
    "JoyHallo, English": (0.7779, 0.8537, 4.7658, 13.3617, 0.9922, 0.9838, 0.9622),
}


def of(measure: str) -> dict[str, float]:
    """The published figures of a measure, by model and language."""
    if measure not in NAMES:
        return {}
    return {model: values[NAMES.index(measure)] for model, values in JOYHALLO.items()}
