"""What the exporter's log says went wrong: of its lines the one that names the cause, in plain words."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable
from typing import Any

from superpod_dcgm.base import complaint

_BAD = ("error", "fatal", "panic", "critical")
_VALUE = r'("(?:[^"\\]|\\.)*"|\S*)'
_LEVEL = re.compile(rf"(?:^|\s)level={_VALUE}")
_MESSAGE = re.compile(rf"(?:^|\s)msg={_VALUE}")
_ERROR = re.compile(rf"(?:^|\s)err(?:or)?={_VALUE}")
# Before it has read how it is to log: the time, the level, the words.
_PLAIN = re.compile(r"^(?:\d{4}[/-]\d\d[/-]\d\d[T ]\S+\s+)?(ERROR|FATAL|PANIC)\s+(.+)$")
# It follows the line that says what happened, or nothing does; its trace is of no use to an administrator.
_EMPTY = re.compile(r"^Encountered a failure\.?$")
# What ends the exporter: an unknown field, a wrong counters file, a library, the engine, the address.
_CAUSE = re.compile(
    r"could not find|malformed CSV|parse error|NVML|lib\w+\.so|DCGM|host ?engine|no such file|address already|bind:",
    re.IGNORECASE,
)


def cause(lines: Iterable[str]) -> str:
    """Return the line that says best why the exporter ended, without time and level; ``""`` if it said nothing."""
    lines = list(lines)
    errors = [said for said in map(_error, lines) if said and not _EMPTY.match(said)]
    if not errors:
        return complaint.reason("\n".join(map(_unstamped, lines)), last=True)
    best = next((said for said in reversed(errors) if _CAUSE.search(said)), errors[-1])
    # main() repeats the bare reason of what was told in full before.
    return complaint.reason(next((said for said in reversed(errors) if best in said and said != best), best))


def _error(line: str) -> str:
    """Return the words of a line that is an error, else ``""``."""
    if line.lstrip().startswith("{"):
        with contextlib.suppress(ValueError):
            entry = json.loads(line)
            if isinstance(entry, dict):
                return _words(entry.get("level"), entry.get("msg"), entry.get("error") or entry.get("err"))
    if (level := _LEVEL.search(line)) and (message := _MESSAGE.search(line)):
        error = _ERROR.search(line)
        return _words(_bare(level[1]), _bare(message[1]), _bare(error[1]) if error else "")
    return found[2] if (found := _PLAIN.match(line)) else ""


def _words(level: Any, message: Any, error: Any) -> str:
    if str(level).lower() not in _BAD:
        return ""
    said, why = str(message or ""), str(error or "")
    return f"{said}: {why}" if why and why not in said else said


def _bare(value: str) -> str:
    with contextlib.suppress(ValueError):
        return str(json.loads(value)) if value.startswith('"') else value
    return value.strip('"')


def _unstamped(line: str) -> str:
    return re.sub(r'^(?:time="[^"]*"|time=\S+|\d{4}[/-]\d\d[/-]\d\d[T ]\S+)\s+', "", line)
