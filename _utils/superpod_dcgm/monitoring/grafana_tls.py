"""How a Grafana's certificate is checked, and in which words one is refused."""

from __future__ import annotations

import os
import ssl
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.util.ssl_ import create_urllib3_context

# The system's authorities, by family of distributions: Salt's own Python brings others.
_AUTHORITIES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem")


class Adapter(HTTPAdapter):
    """Checks chain, dates and name; a site's own authority need not have the form of RFC 5280 in full."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make connections by a context of ours."""
        context = create_urllib3_context()
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        # A certificate that signs itself is its own authority, and so is one in the middle of a chain.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        kwargs["ssl_context"] = context
        super().init_poolmanager(*args, **kwargs)


def authorities() -> str | bool:
    """Return the file with the system's authorities; True, for those of requests, where there is none."""
    return next((path for path in _AUTHORITIES if os.path.isfile(path)), True)


def refusal(exc: ssl.SSLError, ca: str) -> str:
    """
    Return why a certificate was refused and what to look at.

    :param ca: the file with the authorities; empty: the system's.
    """
    if not isinstance(exc, ssl.SSLCertVerificationError):
        return f"no TLS ({(exc.reason or 'it breaks off').lower().replace('_', ' ')}): does it speak http?"
    whose = ca or "the system's authorities"
    return f"the certificate does not stand the check against {whose} ({exc.verify_message}): look at dcgm:grafana:ca"
