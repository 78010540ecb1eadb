"""The tags of a finished film, replaced: its pictures and its sound stay as they are, to the last bit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..libraries import library
from .write import FORMATS


def retag(source: Path, target: Path, tags: Mapping[str, str]) -> None:
    """A copy that has these tags and no others. target: ends as one of FORMATS"""
    av = library("av", "Writing videos")
    facts = FORMATS[target.suffix.lower().removeprefix(".")]
    with (
        av.open(str(source)) as film,
        av.open(str(target), "w", format=facts.container, options=dict(facts.options)) as copy,
    ):
        streams = {stream.index: copy.add_stream_from_template(stream) for stream in film.streams}
        copy.metadata.update(tags)
        for packet in film.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                copy.mux(packet)
