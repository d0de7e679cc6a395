"""What Salt says of a pillar that it cannot render, as file, line and reason."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence

import yaml

_HEADER = re.compile(r"Rendering (?:SLS '(?P<sls>[^']+)'|Primary Top file) failed")
_LINE = re.compile(r"(?:; line |, line )(\d+)")
_ALIAS = "a value that begins with * must be in quotes, such as '*dgx*'"
_HINTS = {
    "undefined alias": _ALIAS,
    "expected alphabetic or numeric character": _ALIAS,
    "'\\t'": "indent by spaces, not by tabs",
    "expected <block end>": "is a line indented less or more than those beside it?",
    "conflicting ID": "the key is there twice",
}


def errors(found: Sequence[str], roots: Sequence[str]) -> list[str]:
    """
    Return one sentence per error of Salt's.

    :param roots: the directories of the pillar.
    """
    return [_sentence(error, roots) for error in found]


def _sentence(error: str, roots: Sequence[str]) -> str:
    header = _HEADER.match(error)
    if not header:
        return f"The pillar: {error.strip().splitlines()[0]}"
    path = _file(header["sls"] or "top", roots)
    line, what = _by_yaml(path) or _by_salt(error)
    hint = next((hint for word, hint in _HINTS.items() if word in what), "")
    return f"{path}{f', line {line}' if line else ''}: {what}" + (f" ({hint})" if hint else "")


def _by_yaml(path: str) -> tuple[int, str] | None:
    """Return line and reason of a plain file, as Salt seldom says the line. One with Jinja is Salt's to judge."""
    with contextlib.suppress(OSError, UnicodeDecodeError), open(path, encoding="utf-8") as stream:
        text = stream.read()
        if "{%" in text or "{{" in text:
            return None
        try:
            yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as exc:
            return (exc.problem_mark.line + 1 if exc.problem_mark else 0), str(exc.problem)
        except yaml.YAMLError as exc:
            return 0, str(exc).splitlines()[0]
    return None


def _by_salt(error: str) -> tuple[int, str]:
    """The reason is neither the first line nor the last: around it stand what was being read, and where."""
    lines = [line.strip() for line in error.split("\n---\n")[0].splitlines()[1:]]
    told = [line for line in lines if line and not line.startswith(("while ", "in "))]
    numbers = _LINE.findall(error.split("\n---\n")[0])
    what = _LINE.sub("", told[-1]) if told else error.strip().splitlines()[0]
    return int(numbers[-1]) if numbers else 0, what


def _file(sls: str, roots: Sequence[str]) -> str:
    path = sls.replace(".", "/")
    candidates = [os.path.join(root, name) for root in roots for name in (f"{path}.sls", f"{path}/init.sls")]
    return next((candidate for candidate in candidates if os.path.isfile(candidate)), f"pillar {sls}")
