"""How CMDaemon's certificate is checked, and in which words one is refused."""

from __future__ import annotations

import ssl
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.util.ssl_ import create_urllib3_context

# X509_V_ERR_* of OpenSSL's x509_vfy.h, by what the administrator has to look at. All others are of the form.
_OF_TIME = {9: "is not valid yet", 10: "has expired"}
_OF_CHAIN = {2, 7, 18, 19, 20, 21, 24, 27}
_OF_NAME = {62, 63, 64}


class Adapter(HTTPAdapter):
    """Check the chain and the dates always, and the name only where the site's certificates carry it."""

    def __init__(self, verify_name: bool) -> None:
        self._verify_name = verify_name
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        kwargs["ssl_context"] = _context()
        if not self._verify_name:
            kwargs["assert_hostname"] = False
        super().init_poolmanager(*args, **kwargs)


def _context() -> ssl.SSLContext:
    """
    Return how connections are made.

    Since Python 3.13 certificates are also held to the form of RFC 5280: an Authority Key Identifier, a critical mark
    on the authority's constraints. A cluster's own authority, made years ago, need not have that; its signature is as
    good as ever. Only this flag is taken back.
    """
    context = create_urllib3_context()
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def refusal(exc: BaseException, ca: str) -> str | None:
    """
    Return why a certificate was refused and what to look at, or None where no certificate was.

    :param exc: the innermost error.
    :param ca: the file with the authorities.
    """
    if not isinstance(exc, ssl.SSLCertVerificationError):
        return None
    code, said = exc.verify_code, exc.verify_message
    if code in _OF_TIME:
        return f"the certificate {_OF_TIME[code]} ({said}): renew it, or set the clock of this machine or of the head"
    if code in _OF_CHAIN:
        return f"the certificate is not signed by an authority in {ca} ({said}): look at dcgm:watcher:ca"
    if code in _OF_NAME:
        return f"the certificate is for another name ({said}): look at dcgm:watcher:heads and dcgm:watcher:verify_name"
    return f"the form of the certificate is refused ({said}), not its authority: make a new one on the head"
