"""The compound matches of ``hosts``: what is wrong with one, in words. Salt itself takes a wrong one for nobody."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Any

_OPERATORS = ("and", "or")
_ENGINES = "GPIJLNSER"
_REGEX = "EPJ"
_ENGINE = re.compile(r"^(?P<engine>[A-Za-z])(?P<delimiter>[^@A-Za-z0-9])?@(?P<pattern>.*)$")
# Slurm's way of writing many names; for Salt the brackets stand for one character.
_HOST_LIST = re.compile(r"\[[0-9]+-[0-9]{2,}[],]|\[[0-9]{2,}-[0-9]+[],]|\[[0-9]{2,},")


def errors(hosts: dict[str, Any]) -> list[str]:
    """Return one sentence per match of the section ``hosts`` that Salt cannot read."""
    found = ((key, match, problem(match)) for key, match in hosts.items())
    return [f"dcgm:hosts:{key}: {match!r}: {wrong}" for key, match, wrong in found if wrong]


def problem(match: str) -> str | None:
    """Return why Salt cannot read a compound match as it is meant, or None. An empty one is nobody, and right."""
    if match and not match.strip():
        return "there are only spaces; leave it empty ('') for nobody"
    words = match.split()
    return next(_of_words(words), None) or next(_of_order(words), None)


def _of_words(words: list[str]) -> Iterator[str]:
    for word in words:
        found = _ENGINE.match(word)
        if word.lower() in ("and", "or", "not") and word != word.lower():
            yield f"write {word} in lower case"
        elif found:
            yield from _of_engine(word, found["engine"], found["pattern"])
        elif "," in word and "[" not in word:
            names = [name for part in words if not _ENGINE.match(part) for name in part.split(",") if name]
            yield f"a list needs L@ and no spaces, such as L@{','.join(names)}"
        elif _HOST_LIST.search(word):
            yield f"{word} is how Slurm writes names; write 'dgx-*', L@dgx-01,dgx-02 or E@dgx-[0-9]+"
        elif len(word) > 1 and (word[0] == "(" or word[-1] == ")"):
            yield f"put spaces around the parentheses of {word}"


def _of_engine(word: str, engine: str, pattern: str) -> Iterator[str]:
    if engine not in _ENGINES:
        upper = engine.upper()
        hint = f"write {upper}@" if upper in _ENGINES else "the letters before @ are " + ", ".join(_ENGINES)
        yield f"{engine}@ is unknown; {hint}"
    elif not pattern or pattern.endswith(","):
        yield f"{word} stops too early; write it without spaces, such as L@dgx-01,dgx-02 or G@os:Ubuntu"
    elif engine in "GPIJ" and word[1] == "@" and ":" not in pattern:
        yield f"{word} has no value; write it as {engine}@name:value"
    elif engine in _REGEX:
        yield from _of_regex(word, pattern)
    elif engine == "S":
        try:
            ipaddress.ip_network(pattern, strict=False)
        except ValueError:
            yield f"{pattern} is no address or network"


def _of_regex(word: str, pattern: str) -> Iterator[str]:
    try:
        re.compile(pattern)
    except re.error as exc:
        yield f"{word} is no regular expression: {exc}"


def _of_order(words: list[str]) -> Iterator[str]:
    """What stands where: operands between operators, and parentheses in pairs."""
    last, depth = "", 0
    for word in words:
        operand_before = last not in ("", "(", "not", *_OPERATORS)
        if word in (*_OPERATORS, ")") and not operand_before:
            yield f"{word} has nothing before it"
        elif word not in (*_OPERATORS, ")") and operand_before and word != "not":
            yield f"nothing joins {last} and {word}; write `and` or `or` between them, or a list as L@{last},{word}"
        depth += {"(": 1, ")": -1}.get(word, 0)
        if depth < 0:
            yield "a parenthesis is closed that was never opened"
        last = word
    if last in ("not", "(", *_OPERATORS):
        yield f"{last} has nothing after it"
    if depth > 0:
        yield "a parenthesis is not closed"
