"""Labels of films made by AI: what the user wishes in ComfyUI's Settings, and what goes into a file."""

from __future__ import annotations

import json
import logging
import uuid
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import folder_paths
from comfy.cli_args import args

from ..joyhallo import SOFTWARE, __version__
from ..joyhallo.film.credentials import MIME, Certificate
from ..joyhallo.film.label import CHINESE, ENGLISH, SECONDS, Label
from ..joyhallo.film.marks import Labels, Marks, record
from ..joyhallo.libraries import brief

log = logging.getLogger(__name__)

NAMED = f"{SOFTWARE} {__version__}"
SETTINGS = "JoyHallo.Labels."  # web/labels.js registers Write, Producer, Certificate and Key

# The choices of Save Talking Video. Rules ask for two seconds at least.
VISIBLE: dict[str, Label | None] = {
    "off": None,
    f"{CHINESE}, first {SECONDS} s": Label(CHINESE),
    f"{CHINESE}, whole video": Label(CHINESE, None),
    f"{ENGLISH}, first {SECONDS} s": Label(ENGLISH),
    f"{ENGLISH}, whole video": Label(ENGLISH, None),
}


@dataclass(frozen=True)
class Wishes:
    write: bool = True  # our own labels; those of others are kept in any case
    producer: str = SOFTWARE
    certificate: Certificate | None = None

    @classmethod
    def now(cls) -> Wishes:
        """As the Settings are. Where they cannot be read, they are as if nobody had changed them."""
        found = _settings()
        names = {name: found.get(f"{SETTINGS}{name}") for name in ("Producer", "Certificate", "Key")}
        producer, chain, key = (name.strip() if isinstance(name, str) else "" for name in names.values())
        own = Certificate(Path(chain), Path(key)) if chain and key else None
        return cls(found.get(f"{SETTINGS}Write") is not False, producer or SOFTWARE, own)


def _settings() -> dict[str, Any]:
    """ComfyUI's file of its only user. With --multi-user nodes are not told whose workflow it is; rather than use the
    certificate or the switch of somebody else, it is as if nobody had changed them."""
    if args.multi_user:
        return {}
    file = Path(folder_paths.get_user_directory(), "default", "comfy.settings.json")
    with suppress(OSError, ValueError, RecursionError):
        found = json.loads(file.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    return {}


def marked(theirs: Marks, made: bool, wishes: Wishes, number: str) -> Marks:
    """The marks of others, with ours if the film is made by AI. number: that of the film, as its maker knows it"""
    if not (made and wishes.write):
        return theirs
    return theirs.with_ours(record(wishes.producer, number), NAMED)


class Labelling:
    """The labels of one film that is saved, and what there is to say about them afterwards."""

    def __init__(self, theirs: Marks, made: bool, format: str, number: str = "", visible: Label | None = None):
        self.theirs, self.made, self.format = theirs, made, format
        self.problem = ""
        wishes = Wishes.now()
        self.certificate = wishes.certificate if wishes.write and (made or self._source is not None) else None
        tags = marked(theirs, made, wishes, number or uuid.uuid4().hex).tags()
        self.labels = Labels(tags, visible, None if self.certificate is None else self._sign)

    @property
    def _source(self) -> Any:
        """The film with credentials of its own that this one was made from, if it is still there."""
        source = self.theirs.manifest
        return None if isinstance(source, str | Path) and not Path(source).exists() else source

    def _sign(self, path: Path) -> None:
        assert self.certificate is not None
        try:
            self.certificate.sign(path, self.format, (SOFTWARE, __version__), self.made, self._source)
        except Exception as error:  # whatever it is, a film that took hours must not be lost by it
            log.warning("The video is saved, but not signed.", exc_info=True)
            self.problem = str(error) or brief(error)

    def told(self) -> str:
        """Nothing if there is nothing to know."""
        lost = self.theirs.manifest is not None and (self.certificate is None or bool(self.problem))
        kept = replace(self.theirs, manifest=None) if lost else self.theirs
        lines = [f"Saved, but not signed: {self.problem}"] if self.problem else []
        lines += [f"Labels of the input, kept: {kept}."] if kept != Marks() else []
        lines += [LOST] if lost else []
        return "\n".join(lines)


LOST = (
    "C2PA credentials hold for the input's own pictures. Saved files keep them inside their own credentials, if you "
    f"set a certificate in Settings and choose {' or '.join(MIME)}."
)
