"""Who can read a file: asked as that user, whatever the modes say; and whether a secret is one."""

from __future__ import annotations

import os
import ssl
import stat

from superpod_dcgm.base import process

_SECONDS = 30


def by(user: str, path: str) -> bool:
    """Return whether a user can read a file, or list and enter a directory."""
    right = "-x" if os.path.isdir(path) else "-r"
    answer = process.run(["runuser", "-u", user, "--", "test", "-r", path, "-a", right, path], _SECONDS)
    return answer.code == 0


def pair_problems(certificate: str, key: str, user: str, section: str) -> list[str]:
    """
    Return what keeps a user's service from having a certificate and its key, a sentence each.

    A key that everybody can read is a problem, too. Nothing of what is in the files is told.

    :param section: what the pillar calls the keys ``certificate`` and ``key``, such as ``dcgm:exporter:tls``.
    """
    found = []
    for name, path in {"certificate": certificate, "key": key}.items():
        if not os.path.isfile(path):
            found.append(f"{section}:{name}: {path} is not there; put it on this machine")
        elif not by(user, path):
            found.append(f"{section}:{name}: {path} cannot be read by the user {user}; give it to his group (0640)")
    if os.path.isfile(key) and stat.S_IMODE(os.stat(key).st_mode) & stat.S_IROTH:
        found.append(f"{section}:key: {key} can be read by everybody; take that right away (chmod o-r)")
    if not found and (why := _unfit(certificate, key)):
        found.append(f"{section}:certificate: {certificate} and {key} are no pair of a certificate and its key: {why}")
    return found


def _unfit(certificate: str, key: str) -> str:
    try:
        # A key that wants a passphrase would ask for it on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=lambda: b"")
    except ssl.SSLError as exc:
        return (exc.reason or "not readable").lower().replace("_", " ")
    except OSError as exc:
        return str(exc.strerror)
    return ""
