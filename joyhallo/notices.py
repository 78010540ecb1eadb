"""Notices: what a user should know about a result that is usable all the same, such as clipped sound.

They travel as data with the result, and are shown where it is shown. A page in another language translates them by key.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Notice:
    key: str
    sentence: str  # in English, with {names} for the values
    values: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        return self.sentence.format(**self.values)


def noticed(log: logging.Logger, key: str, sentence: str, **values: object) -> Notice:
    """A new notice, which the log tells as well: the only place where users of the engine see it unasked."""
    notice = Notice(key, sentence, {name: str(value) for name, value in values.items()})
    log.warning("%s", notice)
    return notice
