"""The file that says which metrics the exporter gives: nothing is installed that would end the exporter."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from superpod_dcgm.base import paths, state
from superpod_dcgm.exporter import artifacts, preflight
from superpod_dcgm.exporter import counters as reader

# Given by Salt's loader.
__env__: str
__opts__: dict[str, Any]
__salt__: dict[str, Callable[..., Any]]
__states__: dict[str, Callable[..., dict[str, Any]]]

_OWN = ("default", "extended")
_ADDED = "# Added by superpod-dcgm-exporter: dcgm:exporter:counters, dcgm:exporter:counter_rows"
# A file that is for another schema is wrong in each row.
_SENTENCES = 8


def installed(
    name: str,
    release: str,
    counters: str = "default",
    rows: list[str] | None = None,
    renamed: dict[str, str] | None = None,
) -> dict[str, Any]:
    """
    Install the counters file of a release, after it was read as strictly as the exporter reads it.

    :param name: where the exporter reads it.
    :param release: an installed one. ``default`` without rows is a link to the file of whichever is current.
    :param counters: ``default`` and ``extended`` begin with the release's own file; or salt:// or an absolute path.
    :param rows: rows to add; one whose name is in the file already is left out.
    :param renamed: names that this release calls otherwise: of each that is used, a warning tells.

    .. code-block:: yaml

        Install the counters of dcgm-exporter:
          dcgm_counters.installed:
            - name: /etc/dcgm-exporter/default-counters.csv
            - release: 4.5.3-4.8.2
            - counters: extended
            - rows: ['DCGM_EXP_XID_ERRORS_COUNT, gauge, XID errors within the last minutes by XID.']
    """
    if counters in _OWN and not rows:
        target = os.path.join(paths.EXPORTER_CURRENT, artifacts.COUNTERS)
        return __states__["file.symlink"](name=name, target=target, force=True)
    own = os.path.join(paths.EXPORTER_ROOT, release, artifacts.COUNTERS)
    source = own if counters in _OWN else __salt__["cp.cache_file"](counters, saltenv=__env__)
    if __opts__["test"] and counters in _OWN and not os.path.exists(own):
        return state.result(
            name, None, f"{len(rows or [])} rows would be added to what {release} brings", {name: "new"}
        )
    try:
        with open(source or counters, encoding="utf-8") as stream:
            text = stream.read()
    except (OSError, UnicodeDecodeError) as exc:
        return state.result(name, False, f"dcgm:exporter:counters: {counters} cannot be read: {exc}")
    return _written(name, release, own, counters, text, _new(text, rows or []), renamed or {})


def _new(text: str, rows: list[str]) -> list[str]:
    """Return the rows whose names are not in a file yet."""
    there, found = {row.name for row in reader.rows(text)}, []
    for line in rows:
        # One that cannot be read stays, for the sentence that says so.
        names = {row.name for row in reader.rows(line)}
        if not names or names - there:
            found.append(line)
        there |= names
    return found


def _written(
    name: str, release: str, own: str, counters: str, text: str, added: list[str], renamed: dict[str, str]
) -> dict[str, Any]:
    whole = "\n".join([text.rstrip("\n"), "", _ADDED, *added, ""]) if added else text
    if wrong := _problems(whole, release, own):
        more = f"; and {len(wrong) - _SENTENCES} more" if len(wrong) > _SENTENCES else ""
        sentences = "; ".join(wrong[:_SENTENCES]) + more
        return state.result(
            name, False, f"{counters} cannot be used with {release}, and nothing is changed: {sentences}"
        )
    content = {"source": counters} if whole == text and counters not in _OWN else {"contents": whole}
    done = __states__["file.managed"](name=name, user="root", mode="0644", follow_symlinks=False, **content)
    return {**done, "warnings": [*done.get("warnings", []), *_old_names(whole, release, renamed)]}


def _problems(text: str, release: str, own: str) -> list[str]:
    names, brought = set(__salt__["dcgm_config.field_names"](release, __env__)), set[str]()
    if os.path.exists(own):
        with open(own, encoding="utf-8") as stream:
            brought = {row.name for row in reader.rows(stream.read())}
    if names:
        # A fork may have more.
        names |= brought
        return reader.problems(text, names.__contains__, names)
    return reader.problems(
        text, preflight.knows(os.path.join(os.path.dirname(own), artifacts.BINARY), brought), brought
    )


def _old_names(text: str, release: str, renamed: dict[str, str]) -> list[str]:
    return [
        f"line {row.line}: {row.name} has the name {renamed[row.name] or '(not known)'} and maybe another unit "
        f"in dcgm-exporter {release}"
        for row in reader.rows(text)
        if row.name in renamed
    ]
