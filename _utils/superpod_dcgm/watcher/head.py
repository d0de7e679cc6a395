"""What the watcher needs on a head node: one CA file, a usable credential, a master configuration that counts."""

from __future__ import annotations

import os
import stat
from typing import Any

import yaml

from superpod_dcgm.base.files import read_bounded

_BEGIN = "-----BEGIN CERTIFICATE-----"
_ADMIN_PAIR = ("/root/.cm/admin.pem", "/root/.cm/admin.key")
# Salt replaces these lists when several files have them; it does not merge them.
# Bytes of a certificate, a key or a configuration.
_LARGEST = 1 << 20
_LISTS = ("engines", "reactor", "module_dirs")


def authorities(files: list[str]) -> str:
    """
    Return the certificates of all files, joined.

    :raises ValueError: a file is missing or has no certificate.
    """
    texts = []
    for path in files:
        try:
            text = read_bounded(path, _LARGEST).decode("ascii").strip()
        except (OSError, UnicodeDecodeError) as exc:
            raise ValueError(f"dcgm:watcher:ca: {path} cannot be read: {exc}") from exc
        if _BEGIN not in text:
            raise ValueError(f"dcgm:watcher:ca: {path} has no certificate")
        texts.append(text)
    return "\n".join(texts) + "\n"


def credential_problem(path: str) -> str | None:
    """Return why a certificate or key must not or cannot be used, or None."""
    if os.path.realpath(path) in _ADMIN_PAIR or any(_same_content(path, admin) for admin in _ADMIN_PAIR):
        return f"{path} is the cluster administrator's: make a certificate with the profile readonly instead"
    if _is_missing(path):
        return (
            f"{path} is missing. On the head node make it with cmsh: cert; createcertificate (profile readonly), "
            "or name the watcher's certificate and key in dcgm:watcher:certificate and dcgm:watcher:key"
        )
    return None


def _is_missing(path: str) -> bool:
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except PermissionError:
        # `salt-run` is the master's user, to whom the head's states give the directory: before that, it sees nothing.
        return False
    except OSError:
        return True


def _same_content(path: str, other: str) -> bool:
    try:
        return read_bounded(path, _LARGEST) == read_bounded(other, _LARGEST)
    except OSError:
        return False


def conflicts(files: list[str], own: str) -> list[str]:
    """
    Return a sentence for each other file of the master's configuration that has one of our lists.

    :param files: all files of the configuration.
    :param own: the file that the watcher's state writes.
    """
    return [
        f"{path} sets {key}, and Salt keeps one such list only: move it to dcgm:watcher:master:{key} in the pillar"
        for path in files
        if path != own
        for key in _LISTS
        if _read(path).get(key)
    ]


def _read(path: str) -> dict[str, Any]:
    """Return a configuration file's content. One that Salt could not read either is not ours to judge."""
    try:
        found = yaml.safe_load(read_bounded(path, _LARGEST).decode())
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}
