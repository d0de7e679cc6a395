"""Files for Prometheus, checked by promtool before they replace those in use, and closed to others where need be."""

from __future__ import annotations

import contextlib
import difflib
import grp
import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from superpod_dcgm.base import files, process

_SECONDS = 120
_NOT_SHOWN = "(not shown)"


@dataclass(frozen=True)
class File:
    """
    A file as it is to be.

    ``check``: arguments of promtool, ahead of its path, such as ``check config``; none where nothing checks it.
    ``group``: who else may read it, besides root; everybody where it is empty. ``secret``: what is in it is not told.
    """

    path: str
    text: str
    promtool: str = ""
    check: tuple[str, ...] = ()
    group: str = ""
    secret: bool = False

    @property
    def mode(self) -> int:
        """Its permissions."""
        return 0o640 if self.group else 0o644

    def differences(self) -> str:
        """Return in words what is to be changed; ``""`` where it is as it is to be."""
        now = _text(self.path)
        if now != self.text:
            return "New file" if now is None else _NOT_SHOWN if self.secret else _diff(now, self.text)
        found = os.stat(self.path)
        right = (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (self.mode, os.geteuid(), self._gid())
        return "" if right else "owner and permissions"

    def refused(self, text: str | None = None) -> str:
        """Return why promtool refuses a text in its place, ``""`` where it does not; by default its own text."""
        if not self.promtool or not self.check:
            return ""
        with _beside(self.path, self.text if text is None else text) as trial:
            return promtool_says([self.promtool, *self.check, trial]).replace(trial, self.path)

    def write(self) -> None:
        """
        Write it.

        :raises OSError: it cannot be written.
        :raises KeyError: its group is not there.
        """
        gid = self._gid()
        files.write_atomic(self.path, self.text, 0o600 if self.group else self.mode)
        os.chown(self.path, os.geteuid(), gid)
        os.chmod(self.path, self.mode)

    def _gid(self) -> int:
        return grp.getgrnam(self.group).gr_gid if self.group else os.getegid()


def promtool_says(argv: Sequence[str]) -> str:
    """Return what promtool finds wrong in one line, ``""`` where nothing is."""
    answer = process.run(argv, _SECONDS)
    if answer.code == 0:
        return ""
    words = " ".join(answer.error.split())
    return f"promtool: {words.partition('FAILED: ')[2] or words or answer.problem}"


@contextlib.contextmanager
def _beside(path: str, text: str) -> Iterator[str]:
    """
    A file beside another, closed to others: what is in it may be secret, and relative paths in it stay right.

    Its name does not end as those that Prometheus reads by a pattern.
    """
    files.make_directory(os.path.dirname(path))
    descriptor, trial = tempfile.mkstemp(prefix=".superpod-", dir=os.path.dirname(path))
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        yield trial
    finally:
        os.unlink(trial)


def _text(path: str) -> str | None:
    try:
        return files.read_bounded(path, 64 << 20).decode(errors="replace")
    except OSError:
        return None


def _diff(old: str, new: str) -> str:
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), "as it is", "as it will be", lineterm="")
    return "\n".join(lines)
