"""Logs for people, or as one JSON object a line for programs; secrets are masked in both.

A JSON line has `time` (ISO 8601, UTC), `level`, `logger`, `event`, `message`, and `error` with a traceback where there
is one. `event` is the same for every line that one place of the program writes, whatever the values in it are: the
words of its text, or the name that the place gave by `extra={"event": …}`. `tests/log_events.txt` lists them.
"""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime
from typing import Final

import msgspec

FORMATS: Final = ("text", "json")

_NAMES = r"(?:api[-_]?key|token|secret|passw(?:or)?d|signature|authorization)"
_SECRETS: Final = (
    # a bearer's word, before `Authorization: Bearer` is taken for a name and its value
    (re.compile(r"(?i)(bearer\s+)\S+"), r"\1…"),
    # name=value and "name": "value"
    (re.compile(rf"(?i)({_NAMES}[\"']?\s*[:=]\s*[\"']?)[^\s\"'&,]+"), r"\1…"),
    # what stands before the host in an address
    (re.compile(r"(://)[^/\s@]+@"), r"\1…@"),
)
_PLACES = re.compile(r"%(?:\([^)]*\))?[-+ #0]*[\d.*]*[a-zA-Z%]")


_chosen: list[str] = []


def configure(level: str, form: str, handler: logging.Handler) -> None:
    """Sends the process's logs to `handler`, in one of `FORMATS`."""
    handler.setFormatter(JsonLines() if form == "json" else Text())
    logging.basicConfig(level=level.upper(), handlers=[handler])
    _chosen[:] = ["--log-level", level, "--log-format", form]


def log_arguments() -> list[str]:
    """The options by which a process that this one starts logs alike."""
    return list(_chosen)


def without_secrets(text: str) -> str:
    """`text` with what looks like a secret replaced by `…`."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


def event_name(template: str) -> str:
    """The words of a log call's text, without the places for values: `rows_are_stored_again`."""
    words = re.findall(r"[A-Za-z0-9]+", _PLACES.sub(" ", template).replace("'", ""))
    return "_".join(word.lower() for word in words)


class Text(logging.Formatter):
    """One line, for people."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))


class JsonLines(logging.Formatter):
    """One JSON object, for programs."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "event": getattr(record, "event", None) or event_name(str(record.msg)) or record.funcName,
            "message": without_secrets(record.getMessage()),
        }
        if record.exc_info:
            line["error"] = without_secrets(self.formatException(record.exc_info))
        return msgspec.json.encode(line).decode()
