"""C2PA credentials: a finished film is signed with the user's own certificate, as made by AI.

The signature covers every byte, so nothing may be changed afterwards. No time stamp is asked for: that would need the
network.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ..libraries import brief, library

MIME = {"mp4": "video/mp4", "mov": "video/quicktime"}  # the formats that can be signed
MADE_BY_AI = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
ALGORITHMS = (b"es256", b"es384", b"es512", b"ps256", b"ed25519")
SOURCE = "source"  # the name within a manifest of the film that another was made from


class CredentialsError(RuntimeError):
    """A film cannot be signed; the message is for the user."""


@dataclass(frozen=True)
class Certificate:
    chain: Path  # PEM: the certificate, then those that vouch for it, without the root
    key: Path  # PEM, without a password

    def sign(self, path: Path, format: str, software: tuple[str, str], made: bool, source: Any = None) -> None:
        """Put a manifest into a file, which stays as it is if that fails.

        software: name and version; made: by AI, or else another film in new clothes; source: a film with credentials of
        its own, which are kept within the new ones.
        """
        if format not in MIME:
            raise CredentialsError(f"C2PA has no place in a {format} file; choose {' or '.join(MIME)}.")
        c2pa = library("c2pa", "Signing videos", "or empty the certificate in Settings")
        manifest, signer = _manifest(MIME[format], software, made, source is not None), self._signer(c2pa)
        signed = path.with_name(f"{path.name}.signed")
        try:
            with c2pa.Builder(manifest) as builder, path.open("rb") as unsigned, signed.open("w+b") as file:
                if source is not None:
                    with _opened(source) as origin:
                        builder.add_ingredient(_ingredient(source, made), MIME["mp4"], origin)
                builder.sign(signer, MIME[format], unsigned, file)
            signed.replace(path)
        except OSError as error:
            raise CredentialsError(f"The video could not be signed ({brief(error)}); check the disk.") from error
        except c2pa.C2paError as error:
            reason = str(error).partition("\n")[0]
            raise CredentialsError(f"The video could not be signed ({reason}); check the certificate.") from error
        finally:
            signed.unlink(missing_ok=True)

    def _signer(self, c2pa: Any) -> Any:
        """The key decides about the algorithm: the first that takes it."""
        problem: Exception | None = None
        chain, key = _text(self.chain, "certificate"), _text(self.key, "private key")
        for algorithm in ALGORITHMS:
            try:
                return c2pa.Signer.from_info(c2pa.C2paSignerInfo(algorithm, chain, key, None))
            except c2pa.C2paError as error:
                problem = problem or error
        raise CredentialsError(
            f"The private key {self.key} does not fit the certificate {self.chain}, or C2PA takes neither; expected "
            "two PEM files, the key without a password."
        ) from problem


@contextmanager
def _opened(source: Any) -> Iterator[BinaryIO]:
    """source: a path, or a file in memory, which stays open"""
    if isinstance(source, str | Path):
        with open(source, "rb") as file:
            yield file
    else:
        source.seek(0)
        yield source


def _text(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CredentialsError(
            f"The {what} {path} cannot be read ({brief(error)}); check its path in Settings."
        ) from error


def _manifest(mime: str, software: tuple[str, str], made: bool, has_source: bool) -> dict[str, Any]:
    return {
        "claim_generator_info": [{"name": software[0], "version": software[1]}],
        "format": mime,
        "assertions": [{"label": "c2pa.actions", "data": {"actions": list(_actions(made, has_source))}}],
    }


def _actions(made: bool, has_source: bool) -> Iterator[dict[str, Any]]:
    if made:
        yield {"action": "c2pa.created", "digitalSourceType": MADE_BY_AI}
    if has_source:
        yield {"action": "c2pa.placed" if made else "c2pa.opened", "parameters": {"ingredientIds": [SOURCE]}}
    if not made:
        yield {"action": "c2pa.transcoded"}


def _ingredient(source: Any, made: bool) -> dict[str, Any]:
    title = Path(source).name if isinstance(source, str | Path) else SOURCE
    return {
        "title": title,
        "relationship": "componentOf" if made else "parentOf",
        "instance_id": SOURCE,
        "label": SOURCE,
    }
