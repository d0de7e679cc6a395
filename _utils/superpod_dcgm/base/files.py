"""Files that are never half written: atomic writes and forgiving reads."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import pwd
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

# Seconds between two tries to take a lock.
_LOCK_PAUSE = 0.02
_SHARED_PAUSE = 2.0
# Bytes: far more than the snapshot of the largest cluster.
_LARGEST = 64 << 20


def write_atomic(path: str, text: str, mode: int = 0o644, owner: str | None = None) -> bool:
    """
    Write ``text`` to ``path`` so that a reader sees the old or the new file, never a part.

    :param mode: permissions, whatever the umask.
    :param owner: user (and his group) who shall own the file; the caller by default.
    :return: whether content or permissions changed.
    :raises OSError: the directory is missing, full or read-only; the old file is then as it was.
    """
    if _same(path, text, mode):
        return False
    descriptor, temporary = tempfile.mkstemp(prefix=".superpod-", dir=os.path.dirname(path))
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            if owner is not None:
                entry = pwd.getpwnam(owner)
                os.fchown(stream.fileno(), entry.pw_uid, entry.pw_gid)
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    return True


@contextlib.contextmanager
def create(path: str, mode: int = 0o644) -> Iterator[BinaryIO]:
    """
    Give a new file to write to that has exactly this mode, whatever the umask; one that is there is emptied.

    For what nobody reads before it is whole. All else is for ``write_atomic``.

    :raises OSError: it cannot be made.
    """
    with open(path, "wb") as stream:
        os.fchmod(stream.fileno(), mode)
        yield stream


def make_directory(path: str, mode: int = 0o755) -> None:
    """
    Make a directory that is missing with exactly this mode, whatever the umask; its missing parents get 0755.

    os.makedirs leaves what the umask leaves of a mode: where a minion runs with umask 077, other users could not enter.
    One that is there already may be somebody else's and stays as it is.

    :raises OSError: it cannot be made.
    """
    missing = []
    place = os.path.abspath(path)
    while not os.path.isdir(place):
        missing.append(place)
        place = os.path.dirname(place)
    for folder in reversed(missing):
        try:
            os.mkdir(folder)
        except FileExistsError:
            # Made by another process meanwhile, or what stands there is no directory.
            if not os.path.isdir(folder):
                raise
            continue
        os.chmod(folder, mode if folder == missing[0] else 0o755)


def head(path: str, most: int, follow: bool = False) -> bytes:
    """
    Return the first ``most`` bytes of a plain file; what is none is not waited for.

    :param follow: whether the path may be a link.
    :raises OSError: it cannot be read, or is no plain file.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    with open(os.open(path, flags), "rb") as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise OSError(errno.EINVAL, "no plain file", path)
        return stream.read(most)


def told(path: str) -> bytes:
    """Return what the kernel says in a file of /proc, which has no size; nothing of one that is gone or closed."""
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except OSError:
        return b""


def _same(path: str, text: str, mode: int) -> bool:
    """Whether that is what is there already; what is no plain file is neither waited for nor followed."""
    content = text.encode()
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    with open(descriptor, "rb") as stream:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or stat.S_IMODE(found.st_mode) != mode or found.st_size != len(content):
            return False
        return stream.read(len(content) + 1) == content


def read_json(path: str, default: Any = None, most: int = _LARGEST) -> Any:
    """
    Return the content of a JSON file, or ``default`` when it is missing, unreadable or not JSON.

    :param most: bytes; a larger file counts as unreadable.
    """
    try:
        return json.loads(read_bounded(path, most))
    # JSON that is nested deeply enough costs Python its stack.
    except (OSError, ValueError, RecursionError):
        return default


def read_bounded(path: str, most: int, follow: bool = True) -> bytes:
    """
    Return the content of a plain file. A FIFO is not waited for, and a device is not opened.

    :param most: bytes.
    :param follow: whether the path may be a link.
    :raises OSError: it is missing, unreadable, no plain file, or larger.
    """
    # Before it is opened: that alone may do something to a device.
    _check_plain(os.stat(path, follow_symlinks=follow), path, most)
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    with open(os.open(path, flags), "rb") as stream:
        _check_plain(os.fstat(stream.fileno()), path, most)
        content = stream.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"larger than {most} bytes", path)
    return content


def _check_plain(found: os.stat_result, path: str, most: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a plain file", path)
    if found.st_size > most:
        raise OSError(errno.EFBIG, f"larger than {most} bytes", path)


def sha256(path: str) -> str:
    """
    Return the SHA-256 of a file in lower-case hexadecimal digits.

    :raises OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def link_atomic(target: str, link: str) -> None:
    """
    Make ``link`` point to ``target`` in one step, whatever it pointed to before.

    :raises OSError: the directory cannot be written, or ``link`` is a directory.
    """
    # A name with a dot: what runs every file of a directory (Slurm's prolog.d) must not see it.
    # Other machines may do the same in a directory that they share.
    who = f"{os.uname().nodename}-{os.getpid()}"
    temporary = os.path.join(os.path.dirname(link), f".{os.path.basename(link)}.superpod-{who}")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    os.symlink(target, temporary)
    try:
        os.replace(temporary, link)
    except OSError:
        os.unlink(temporary)
        raise


def replace_directory(fresh: str, directory: str) -> None:
    """
    Put ``fresh`` in the place of ``directory``.

    rename(2) does not replace a directory that has content: the old one is moved aside first.

    :raises OSError: it cannot be done; the old one is still there.
    """
    old = f"{fresh}.old"
    # A crash may have left it.
    shutil.rmtree(old, ignore_errors=True)
    there = os.path.isdir(directory)
    if there:
        os.rename(directory, old)
    try:
        os.rename(fresh, directory)
    except OSError:
        if there:
            os.rename(old, directory)
        raise
    shutil.rmtree(old, ignore_errors=True)


class Busy(TimeoutError):
    """Another process holds the lock."""


@contextlib.contextmanager
def lock_local(path: str, seconds: float) -> Iterator[None]:
    """
    Hold a lock on this machine, by flock(2): shell scripts can hold the same lock with flock(1).

    The kernel lets it go when the holder ends, however he ends. Only its owner can open it: to hold a lock, reading
    its file is enough.

    :raises Busy: it was not free within ``seconds``.
    :raises OSError: its file cannot be opened.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if os.fstat(descriptor).st_mode & 0o077:
            os.fchmod(descriptor, 0o600)
        _take(descriptor, path, fcntl.flock, seconds, _LOCK_PAUSE)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def lock_shared(path: str, seconds: float) -> Iterator[None]:
    """
    Hold a lock on shared storage, by POSIX locks: NFS carries them to its server, flock(2) it may keep to one machine.

    :raises Busy: it was not free within ``seconds``.
    :raises OSError: its file cannot be opened.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        _take(descriptor, path, fcntl.lockf, seconds, _SHARED_PAUSE)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, path: str, take: Callable[[int, int], None], seconds: float, pause: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            take(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError as exc:
            # POSIX allows a lock that is held to be reported by either (fcntl(2)).
            if exc.errno not in (errno.EACCES, errno.EAGAIN):
                raise
            if time.monotonic() > deadline:
                raise Busy(f"another process holds {path}; it was not free within {seconds:g} s") from exc
        time.sleep(pause)


def is_free(path: str) -> bool:
    """Return whether nobody holds the lock of ``lock_local``."""
    try:
        with lock_local(path, 0):
            return True
    except Busy:
        return False
