"""Signed films, read back by the library of C2PA's makers."""

from __future__ import annotations

import hashlib
import json
import sys

import av
import pytest
import torch
from certificates import certificate

from joyhallo.film.credentials import Certificate, CredentialsError
from joyhallo.film.marks import Labels, read_marks, record
from joyhallo.film.write import write
from joyhallo.libraries import LibraryError

SOFTWARE = ("our nodes", "1.2")
TAGS = {"AIGC": record("us", "1"), "software": "our nodes 1.2"}
FRAMES = torch.rand(6, 32, 32, 3, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def own(tmp_path) -> Certificate:
    return Certificate(*certificate(tmp_path))


def film(path, sign=None):
    labels = Labels(TAGS, sign=sign)
    return write(path, [FRAMES], 25, None, path.suffix[1:], metadata={"workflow": {"nodes": []}}, labels=labels)


def signed(path, own, made=True, source=None):
    return film(path, lambda file: own.sign(file, path.suffix[1:], SOFTWARE, made, source))


def told(path) -> dict:
    import c2pa

    with c2pa.Reader(str(path)) as reader:
        return json.loads(reader.json())


def manifest(path) -> dict:
    found = told(path)
    return found["manifests"][found["active_manifest"]]


def actions(of: dict) -> list[dict]:
    return next(part["data"]["actions"] for part in of["assertions"] if part["label"].startswith("c2pa.actions"))


def contents(path) -> list:
    """Every frame, and what is written about them."""
    with av.open(str(path)) as file:
        tags = {key: text for key, text in file.metadata.items() if key != "encoder"}
        return [tags, *(frame.to_ndarray(format="rgb24").tobytes() for frame in file.decode(video=0))]


@pytest.mark.parametrize("format", ["mp4", "mov"])
def test_a_film_is_signed_as_made_by_ai_and_stays_what_it_was(tmp_path, own, format):
    path = signed(tmp_path / f"signed.{format}", own)
    found = told(path)
    assert found["validation_state"] == "Valid"
    assert [status["code"] for status in found["validation_status"]] == ["signingCredential.untrusted"]
    (created,) = actions(manifest(path))
    assert created["action"] == "c2pa.created"
    assert created["digitalSourceType"].endswith("/trainedAlgorithmicMedia")
    assert manifest(path)["claim_generator_info"][0].items() >= {"name": "our nodes", "version": "1.2"}.items()
    assert contents(path) == contents(film(tmp_path / f"plain.{format}"))
    assert read_marks(path).manifest == path


def test_a_change_after_signing_is_noticed(tmp_path, own):
    path = signed(tmp_path / "a.mp4", own)
    path.write_bytes(path.read_bytes().replace(b'"ContentProducer":"us"', b'"ContentProducer":"me"'))
    assert told(path)["validation_state"] == "Invalid"


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_keys_of_other_kinds_do_as_well(tmp_path, kind):
    path = signed(tmp_path / "a.mp4", Certificate(*certificate(tmp_path, kind)))
    assert told(path)["validation_state"] == "Valid"


@pytest.mark.parametrize(("made", "relation", "expected"), [
    (True, "componentOf", ["c2pa.created", "c2pa.placed"]),
    (False, "parentOf", ["c2pa.opened", "c2pa.transcoded"]),
])  # fmt: skip
def test_credentials_of_a_source_are_kept_within(tmp_path, own, made, relation, expected):
    source = signed(tmp_path / "source.mp4", own)
    path = signed(tmp_path / "a.mp4", own, made, source)
    assert told(path)["validation_state"] == "Valid"
    (part,) = manifest(path)["ingredients"]
    assert part["relationship"] == relation
    assert part["title"] == "source.mp4"
    assert part["active_manifest"] == told(source)["active_manifest"]
    assert [action["action"] for action in actions(manifest(path))] == expected


# ---- what can go wrong


@pytest.mark.parametrize("format", ["webm", "mkv"])
def test_formats_without_a_place_for_credentials_are_named(tmp_path, own, format):
    with pytest.raises(CredentialsError, match=f"no place in a {format} file; choose mp4 or mov"):
        own.sign(film(tmp_path / f"a.{format}"), format, SOFTWARE, True)


@pytest.mark.parametrize(("chain", "key", "message"), [
    ("missing.pem", "ec.key", "The certificate .*missing.pem cannot be read .* check its path in Settings"),
    ("ec.pem", "missing.key", "The private key .*missing.key cannot be read"),
    ("ec.pem", "ec.pem", "does not fit the certificate .*; expected two PEM files"),
    ("ec.key", "ec.key", "the certificate is invalid"),
    ("rsa.pem", "ec.key", "could not be signed|does not fit"),
])  # fmt: skip
def test_a_film_outlives_a_certificate_that_does_not_do(tmp_path, chain, key, message):
    certificate(tmp_path), certificate(tmp_path, "rsa")
    path = film(tmp_path / "a.mp4")
    before, files = hashlib.sha256(path.read_bytes()).digest(), set(tmp_path.iterdir())
    with pytest.raises(CredentialsError, match=message):
        Certificate(tmp_path / chain, tmp_path / key).sign(path, "mp4", SOFTWARE, True)
    assert hashlib.sha256(path.read_bytes()).digest() == before
    assert set(tmp_path.iterdir()) == files


def test_the_missing_library_is_named(tmp_path, own, monkeypatch):
    monkeypatch.setitem(sys.modules, "c2pa", None)
    with pytest.raises(LibraryError, match=r"Signing videos needs the library c2pa-python, .*pip install"):
        own.sign(film(tmp_path / "a.mp4"), "mp4", SOFTWARE, True)
