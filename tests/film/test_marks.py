"""Marks are read back by FFmpeg through PyAV, and from files with marks that others wrote."""

from __future__ import annotations

import io
import json
from html import escape

import pytest
import torch
from marked import MANIFEST, XMP, boxed, marked, tags_of

from joyhallo.film.marks import Labels, Marks, label_of, read_marks, record
from joyhallo.film.write import FORMATS, write

FIELDS = ["Label", "ContentProducer", "ProduceID", "ReservedCode1", "ContentPropagator", "PropagateID", "ReservedCode2"]
THEIRS = json.dumps(dict.fromkeys(FIELDS, "x") | {"Label": "1", "ContentProducer": "Somebody"})
SUSPECTED = THEIRS.replace('"1"', '"3"')
OURS = record("us", "1234")
AI = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
PACKET = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:i="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:TC260="http://www.tc260.org.cn/ns/AIGC/1.0/"
{attributes}>{elements}</rdf:Description></rdf:RDF></x:xmpmeta>"""


def with_xmp(path, attributes="", elements=""):
    xmp = PACKET.format(attributes=attributes, elements=elements).encode()
    return boxed(marked(path), XMP, xmp)


# ---- the record


def test_a_record_has_the_fields_of_the_standard_and_says_made_by_ai():
    found = json.loads(record("Somebody", "77"))
    assert list(found) == FIELDS
    assert found["Label"] == "1"
    assert (found["ContentProducer"], found["ProduceID"]) == ("Somebody", "77")
    assert all(isinstance(value, str) for value in found.values())


@pytest.mark.parametrize("producer", ["北京某某科技有限公司", 'a "b" \\ c', "}{", ""])
def test_a_record_holds_any_name_in_plain_letters(producer):
    text = record(producer, "1")
    assert json.loads(text)["ContentProducer"] == producer
    assert text.isascii()
    assert text.count("{") == text.count("}") == 1


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_keeps_the_tags_beside_the_workflow(tmp_path, format):
    tags = Marks(record=OURS, software="nodes 1", source="trainedAlgorithmicMedia", earlier=SUSPECTED).tags()
    workflow = {"nodes": [{"title": "} {"}]}
    frames = [torch.zeros(3, 32, 32, 3)]
    path = write(
        tmp_path / f"a.{format}", frames, 25, None, format, metadata={"workflow": workflow}, labels=Labels(tags)
    )
    found = tags_of(path)
    assert found["aigc"] == OURS
    assert found["software"] == "nodes 1"
    assert json.loads(found["workflow"]) == workflow
    assert read_marks(path).tags() == tags


# ---- marks of others


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.webm"])
def test_a_record_of_others_is_read_as_it_is(tmp_path, name):
    path = marked(tmp_path / name, {"AIGC": THEIRS, "software": "Theirs 2"})
    assert read_marks(path) == Marks(record=THEIRS, software="Theirs 2")
    assert read_marks(io.BytesIO(path.read_bytes())) == Marks(record=THEIRS, software="Theirs 2")


@pytest.mark.parametrize("key", ["comment", "description"])
def test_a_record_within_another_key_is_found(tmp_path, key):
    found = read_marks(marked(tmp_path / "a.mp4", {key: json.dumps({"AIGC": json.loads(THEIRS)})})).record
    assert json.loads(found) == json.loads(THEIRS)


def test_a_record_in_two_pairs_of_braces_is_understood(tmp_path):
    found = read_marks(marked(tmp_path / "a.mp4", {"AIGC": f'{{"AIGC":{THEIRS}}}'}))
    assert label_of(found.record) == "1"
    assert "made by AI, by Somebody" in str(found)


@pytest.mark.parametrize(
    "xmp",
    [
        {"attributes": f'i:DigitalSourceType="{AI}" TC260:AIGC="{escape(THEIRS)}"'},
        {"elements": f"<i:DigitalSourceType>{AI}</i:DigitalSourceType><TC260:AIGC>{escape(THEIRS)}</TC260:AIGC>"},
    ],
    ids=["attributes", "elements"],
)
def test_marks_in_xmp_are_read(tmp_path, xmp):
    found = read_marks(with_xmp(tmp_path / "a.mp4", **xmp))
    assert found.source == "trainedAlgorithmicMedia"
    assert json.loads(found.record) == json.loads(THEIRS)


def test_a_camera_s_film_has_no_marks(tmp_path):
    camera = AI.replace("trainedAlgorithmicMedia", "digitalCapture")
    found = read_marks(with_xmp(tmp_path / "a.mp4", f'i:DigitalSourceType="{camera}"'))
    assert found == Marks()
    assert str(found) == "none"


def test_a_manifest_is_noticed_without_a_library(tmp_path):
    path = boxed(marked(tmp_path / "a.mp4"), MANIFEST, b"\0" * 9 + AI.encode() + b"\0")
    assert read_marks(path) == Marks(source="trainedAlgorithmicMedia", manifest=path)
    memory = io.BytesIO(path.read_bytes())
    assert read_marks(memory).manifest is memory


@pytest.mark.parametrize("contents", [b"", b"\0" * 40, b"\0\0\0\x08ftyp" + b"\xff" * 64, b"\0\0\0\x01ftyp" + b"\0" * 8])
def test_what_is_no_film_has_no_marks(tmp_path, contents):
    path = tmp_path / "a.mp4"
    path.write_bytes(contents)
    assert read_marks(path) == Marks()
    assert read_marks(tmp_path / "missing.mp4") == Marks()


@pytest.mark.parametrize("text", ["", "no JSON", "[1]", "{}", "[" * 100_000])
def test_an_unreadable_record_says_nothing_and_is_not_lost(text):
    marks = Marks(record=text).with_ours(OURS, "nodes 1")
    assert marks.record == OURS
    assert marks.earlier == text


# ---- ours beside theirs


def test_a_record_that_says_made_by_ai_is_never_replaced():
    marks = Marks(record=THEIRS, software="Theirs 2", source="algorithmicMedia").with_ours(OURS, "nodes 1")
    assert marks == Marks(record=THEIRS, software="Theirs 2; nodes 1", source="algorithmicMedia")


def test_a_weaker_record_makes_way_and_is_kept():
    marks = Marks(record=SUSPECTED).with_ours(OURS, "nodes 1")
    assert (marks.record, marks.earlier) == (OURS, SUSPECTED)
    assert "earlier" in str(marks)


def test_the_same_software_is_named_once():
    once = Marks().with_ours(OURS, "nodes 1")
    assert once.with_ours(record("us", "5"), "nodes 1") == once
