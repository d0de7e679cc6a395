"""When the certificate of the exporter's page expires, by the file that the exporter's web configuration names."""

from __future__ import annotations

import base64
import calendar
import os
import re
import time

from superpod_dcgm.base import files

# Bytes: far more than a web configuration or a chain of certificates has.
_MOST = 1 << 20
# The key of the web configuration, quoted or not, in a mapping of several lines or of one.
_NAME = r"""["']?cert_file["']?[ \t]*:[ \t]*"""
_CERTIFICATE = re.compile(
    rf"""^(?:[^#\n]*[\s{{,])?{_NAME}(?:"([^"\n]+)"|'([^'\n]+)'|([^\s"',}}#][^\s,}}]*))""", re.MULTILINE
)
_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")
# Tags of X.509: [0], which is there from its second version on, and the two forms of a time, which strptime reads.
_VERSION = 0xA0
_TIMES = {0x17: "%y%m%d%H%M%SZ", 0x18: "%Y%m%d%H%M%SZ"}


def expiry(web_config: str) -> float | None:
    """
    Return when the first certificate of the chain expires, in seconds since the epoch; None: there is none.

    :param web_config: path of the exporter's web configuration; ``""``: it has none.
    :raises OSError: a file cannot be read.
    :raises ValueError: the file has no certificate that can be read.
    """
    if not web_config:
        return None
    named = _CERTIFICATE.search(files.read_bounded(web_config, _MOST).decode("utf-8", "replace"))
    if not named:
        return None
    path = os.path.join(os.path.dirname(web_config), next(filter(None, named.groups())))
    blocks = _BLOCK.findall(files.read_bounded(path, _MOST))
    if not blocks:
        raise ValueError(f"{path} has no certificate")
    try:
        return min(_not_after(base64.b64decode(block)) for block in blocks)
    except (ValueError, LookupError) as exc:
        raise ValueError(f"{path} has a certificate that cannot be read") from exc


def _not_after(der: bytes) -> float:
    """Return the end of a certificate's validity: its fifth field, before which there are version to issuer."""
    _, whole = _parts(der)[0]
    _, signed = _parts(whole)[0]
    fields = [content for tag, content in _parts(signed) if tag != _VERSION]
    tag, text = _parts(fields[3])[1]
    return calendar.timegm(time.strptime(text.decode("ascii"), _TIMES[tag]))


def _parts(der: bytes) -> list[tuple[int, bytes]]:
    """Return tag and content of each element."""
    found, place = list[tuple[int, bytes]](), 0
    while place < len(der):
        tag, size, place = der[place], der[place + 1], place + 2
        if size & 0x80:
            digits = size & 0x7F
            size, place = int.from_bytes(der[place : place + digits], "big"), place + digits
        found.append((tag, der[place : place + size]))
        place += size
    return found
