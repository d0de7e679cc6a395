"""
Which accepted minions a compound match means, by the word of those who know.

Salt's master knows ids for certain. Grains and pillar it knows from its cache. Where that is missing it counts every
minion as matched (Salt 3006) or none (3008), since each minion checks again. Who goes on with a list of ids must ask.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypedDict

import salt.utils.minions

from superpod_dcgm.base import files

# (minion ids, compound match) -> whether it means them; who does not answer is left out.
Ask = Callable[[Collection[str], str], Mapping[str, bool]]
_OPERATORS = ("and", "or", "not", "(", ")")
# By the letter of a term, what of a minion it needs; all others depend on what only the minion has.
_BY_ID = ("", "L", "E")
_CACHED = {"G": "grains", "P": "grains", "S": "grains", "I": "pillar", "J": "pillar"}
# Seconds after which a minion that answered is asked again, and one that did not: doubled up to the longest.
_REST, _SHORTEST, _LONGEST = 3600, 15, 300
# Seconds that a node which is down is a node by its last word: a month.
_KEEP = 30 * 86400
_LOCK = 2


class Word(TypedDict):
    """What a minion said last and when (None: never), when it was asked, and how often in vain since."""

    matches: bool
    said: float | None
    asked: float
    vain: int


def accepted(opts: dict[str, Any]) -> set[str]:
    """Return the ids of the accepted minions."""
    return set(salt.utils.minions.CkMinions(opts).check_minions(".*", "pcre")["minions"])


def terms(opts: dict[str, Any], match: str) -> list[str]:
    """Return the words of a match, with its node groups put in: a minion does not know those."""
    found = []
    for word in match.split():
        if word.startswith("N@"):
            group = salt.utils.minions.nodegroup_comp(word[2:], opts.get("nodegroups", {}))
            found += ["(", *(group.split() if isinstance(group, str) else group), ")"]
        else:
            found.append(word)
    return found


def kinds(words: Iterable[str]) -> set[str]:
    """Return the letters of the terms; a glob has none."""
    plain = [word for word in words if word not in _OPERATORS]
    return {word[0] if "@" in word[1:3] and word[0].isupper() else "" for word in plain}


def by_id(opts: dict[str, Any], words: list[str]) -> set[str]:
    """Return whom the master's own matcher gives; it reads compound matches only where it has a cache."""
    matcher = salt.utils.minions.CkMinions({**opts, "minion_data_cache": True})
    return set(matcher.check_minions(" ".join(words), "compound")["minions"])


def candidates(opts: dict[str, Any], words: list[str], everybody: set[str]) -> set[str]:
    """Return the minions that are not ruled out by their ids alone."""
    loose: list[str] = []
    for word in words:
        if word in _OPERATORS or kinds([word]) <= set(_BY_ID):
            loose.append(word)
            continue
        if loose[-1:] == ["not"]:
            loose.pop()
        loose.append("*")
    if any(word == "not" and loose[at + 1 : at + 2] == ["("] for at, word in enumerate(loose)):
        return everybody
    return by_id(opts, loose) & everybody


def vouched(opts: dict[str, Any], letters: set[str], minions: Iterable[str]) -> set[str]:
    """Return those of whom the master's cache has all that the match needs."""
    needed = {_CACHED.get(letter) for letter in letters if letter not in _BY_ID}
    if None in needed or not opts.get("minion_data_cache"):
        return set()
    cache = salt.utils.minions.CkMinions(opts).cache
    return {minion for minion in minions if all(_is_cached(cache, minion, str(kind)) for kind in needed)}


def _is_cached(cache: Any, minion: str, kind: str) -> bool:
    # Salt 3008 keeps grains and pillar apart; 3006 has both in one.
    if cache.contains(kind, minion):
        return True
    old = cache.fetch(f"minions/{minion}", "data") if cache.contains(f"minions/{minion}", "data") else None
    return isinstance(old, dict) and isinstance(old.get(kind), dict)


def settled(opts: dict[str, Any], match: str) -> tuple[set[str], set[str], str]:
    """Return who is matched for certain, who has to be asked, and what: the match as a minion can read it."""
    words = terms(opts, match)
    letters = kinds(words)
    if letters <= set(_BY_ID):
        return by_id(opts, words), set(), " ".join(words)
    open_to = candidates(opts, words, accepted(opts))
    sure = vouched(opts, letters, open_to)
    return (by_id(opts, words) & sure if sure else set()), open_to - sure, " ".join(words)


class Memory:
    """What minions said of themselves: a file on the head, by match and minion id."""

    def __init__(self, path: str) -> None:
        self._path = path

    def _words(self, key: str) -> dict[str, Word]:
        found = files.read_json(self._path, {})
        known = found.get(key) if isinstance(found, dict) else None
        return {name: word for name, word in known.items() if _is_word(word)} if isinstance(known, dict) else {}

    def ask(
        self, match: str, minions: Collection[str], ask: Ask, key: str | None = None, rest: float = _REST
    ) -> dict[str, Word]:
        """
        Ask those whose time has come, and return what is known of all of them then.

        :param key: what it is remembered by; the match by default.
        :param rest: seconds after which a minion that answered is asked again.
        """
        key = key or match
        known, now = self._words(key), time.time()
        due = sorted(name for name in minions if name not in known or _is_due(known[name], now, rest))
        if due:
            said, now = ask(due, match), time.time()
            fresh = {name: _word(known.get(name), said.get(name), now) for name in due}
            known.update(fresh)
            self._store(key, fresh, set(minions))
        return {name: known[name] for name in minions}

    def _store(self, key: str, fresh: Mapping[str, Word], minions: set[str]) -> None:
        # What cannot be remembered is asked again.
        with contextlib.suppress(OSError, files.Busy), files.lock_local(f"{self._path}.lock", _LOCK):
            found = files.read_json(self._path, {})
            found = found if isinstance(found, dict) else {}
            old = {name: word for name, word in self._words(key).items() if name in minions}
            # Matches of command lines are not kept for good.
            others = {other: words for other, words in found.items() if other != key and _is_recent(words)}
            files.write_atomic(self._path, json.dumps({**others, key: {**old, **fresh}}) + "\n")


def _word(old: Word | None, said: bool | None, now: float) -> Word:
    if said is not None:
        return {"matches": said, "said": now, "asked": now, "vain": 0}
    known: Word = old or {"matches": False, "said": None, "asked": now, "vain": 0}
    return {**known, "asked": now, "vain": known["vain"] + 1}


def _is_due(word: Word, now: float, rest: float) -> bool:
    """Whether a minion is to be asked again. A clock that was set back delays nothing."""
    if word["vain"]:
        rest = min(_LONGEST, _SHORTEST * 2 ** min(word["vain"] - 1, 10))
    return not 0 <= now - word["asked"] < rest


def counts(word: Word, now: float) -> bool:
    """Return whether a minion's last word makes it a node."""
    return word["matches"] and word["said"] is not None and now - word["said"] < _KEEP


def answered(word: Word) -> bool:
    """Return whether a minion answered when it was last asked."""
    return word["said"] is not None and not word["vain"]


def _is_word(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("matches"), bool):
        return False
    numbers = (value.get("asked"), value.get("vain"), value.get("said") or 0)
    return all(isinstance(number, (int, float)) for number in numbers)


def _is_recent(words: Any) -> bool:
    """Whether a match was asked in the last days."""
    moments = [word["asked"] for word in words.values() if _is_word(word)] if isinstance(words, dict) else []
    return bool(moments) and time.time() - max(moments) < _KEEP


def file(snapshot_file: str) -> str:
    """Return the file of the memory, beside the watcher's snapshot."""
    return os.path.join(os.path.dirname(snapshot_file), "members.json")
