"""Which line of what a program said tells why it failed: rarely the last one."""

from __future__ import annotations

import re

# A sentence of a state shows no more of another program's words.
LONGEST = 300
# Colours and window titles, then what else a terminal would act on; a carriage return ends a line of progress.
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[@-_]?")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")
# It says itself that it is an error: a word with a colon, a level of a log, or the place in a source file.
_MARKED = re.compile(
    r"(?<![\w-])(?:\w*error|\w*exception|fatal|panic|critical)\b(?: \[?\w+\]?)?:|^E: |^\[?(?:error|fatal|critical)\b"
    r"|(?:level|severity|lvl)\"?[=:] ?\"?(?:error|err|fatal|panic|critical)\b|^\S+\.\w+:\d+(?::\d+)?: (?!warning|note)",
    re.IGNORECASE,
)
# Words of a failure.
_WORDS = re.compile(
    r"\b(?:errors?|fatal|failed|fails|failure|denied|refused|rejected|not found|no such|cannot|can't|could not|couldn't"
    r"|unable|undefined|unknown|unrecognized|invalid|illegal|bad|missing|timed? ?out|unreachable|not permitted|no space"
    r"|read-only|in use|already exists|not installed|not supported|mismatch|quota|killed|out of memory|expired|no route"
    r"|unresolved|does not exist|don't exist|doesn't exist|not a |corrupt)",
    re.IGNORECASE,
)
# True of every failure, or a step on the way to it: taken only where nothing else was said.
_EMPTY = re.compile(
    r"^(?:g?make(?:\[\d+\])?: (?:\*\*\*|Entering|Leaving|Target)|exit (?:status|code)|collect2: error: ld returned"
    r"|hint: |see [\"'`]|see systemctl|for details|please make sure|and the repository exists|note: |go: downloading"
    r"|# |\+ |(?:g?cc|c\+\+|go|git|ld) -|warning: |W: |fatal: could not read from remote repository"
    r"|Traceback |During handling of|The above exception|E: Sub-process|dpkg: error processing package"
    r"|errors were encountered|ninja: build stopped|subprocess\.CalledProcessError)"
    r"|(?:main|control) process exited, code=|failed with result '|scheduled restart job|start request repeated"
    r"|deactivated successfully|\(See .* for details\.?\)$",
    re.IGNORECASE,
)


def reason(text: str, last: bool = False, longest: int = LONGEST) -> str:
    """
    Return what tells best why a program failed, as one clean line; ``""`` if it said nothing.

    :param text: what it said, in the order in which it did.
    :param last: of lines that are equally good take the last, as in a log; else the first, as in a build.
    :param longest: characters; more are cut.
    """
    lines = clean(text)
    said = [line for line in lines if not _EMPTY.search(line)]
    for good in (_MARKED, _WORDS):
        if found := [number for number, line in enumerate(said) if good.search(line)]:
            return _cut(_whole(said, found[-1] if last else found[0]), longest)
    return _cut((said or lines or [""])[-1], longest)


def clean(text: str) -> list[str]:
    """Return the lines that are not empty, without what a terminal would act on."""
    plain = _ESCAPES.sub("", text).replace("\r", "\n").replace("\t", " ")
    return [line for line in (_CONTROL.sub("", line).strip() for line in re.split(r"[\n\x0b\x0c]", plain)) if line]


def _whole(lines: list[str], number: int) -> str:
    """A line that ends with a colon goes on in the next."""
    found = lines[number : number + 1]
    while found[-1].endswith(":") and (more := lines[number + len(found) :]):
        found.append(more[0])
    return " ".join(found)


def _cut(line: str, longest: int) -> str:
    return line if len(line) <= longest else f"{line[: longest - 2]} …"
