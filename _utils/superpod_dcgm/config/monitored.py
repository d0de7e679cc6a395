"""What no schema can say of Prometheus, and of how it gets at the exporters: one sentence per contradiction."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

from superpod_dcgm.base import paths
from superpod_dcgm.config import access

_INTERVAL = "DCGM_EXPORTER_INTERVAL"
# Milliseconds, where nothing is said.
_USUAL = 30000
_MILLISECONDS = {"ms": 1, "s": 1000, "m": 60000, "h": 3600000, "d": 86400000, "w": 604800000, "y": 31536000000}
# Keys of Prometheus' configuration that hold a secret, and what to give instead.
_INLINE = {
    "password": "password_file",
    "credentials": "credentials_file",
    "client_secret": "client_secret_file",
    "bearer_token": "bearer_token_file",
    "secret_key": "a profile of AWS",
    "key": "key_file",
    "secrets": "files",
    **dict.fromkeys(("token", "auth_token", "account_token"), "authorization:credentials_file"),
    **dict.fromkeys(
        ("application_credential_secret", "application_secret", "consumer_key"), "a discovery that reads one"
    ),
}
# Whose `key` is text: elsewhere it may be the name of a thing.
_OF_TLS = ("tls_config",)
_USER_INFO = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#\s]*@")
_LISTS = ("scrape_configs", "remote_write")


def errors(merged: dict[str, Any], pillar: dict[str, Any]) -> Iterator[str]:
    """
    Yield one sentence per contradiction.

    :param merged: defaults with the pillar's values over them.
    :param pillar: what the site wrote.
    """
    yield from _intervals(merged, pillar)
    yield from access.errors(merged)
    yield from _of_own(merged["prometheus"])
    yield from _taken(merged["prometheus"])
    yield from _jobs(merged["prometheus"])
    for key in _LISTS:
        yield from _secrets(merged["prometheus"][key], f"dcgm:prometheus:{key}")
    yield from _outside(merged["prometheus"]["external_labels"])


def is_used(merged: dict[str, Any]) -> bool:
    """Return whether anything of Prometheus is configured on some host."""
    return bool(merged["prometheus"]["enabled"] and merged["hosts"]["monitoring"])


def milliseconds(duration: str) -> int:
    """Return a duration of Prometheus, such as ``30s``, in milliseconds."""
    number, unit = re.fullmatch(r"(\d+)([a-z]+)", duration).groups()  # type: ignore[union-attr]
    return int(number) * _MILLISECONDS[unit]


def collects(exporter: dict[str, Any]) -> int:
    """Return the milliseconds between two samples of the exporter, by the section ``exporter``."""
    written = str(exporter.get("environment", {}).get(_INTERVAL, ""))
    return int(written) if written.isdecimal() else int(exporter.get("interval", _USUAL))


def _intervals(merged: dict[str, Any], pillar: dict[str, Any]) -> Iterator[str]:
    exporter, scrape = merged["exporter"], merged["prometheus"]["scrape_interval"]
    interval = collects(exporter)
    if not (exporter["enabled"] and is_used(merged)) or milliseconds(scrape) == interval:
        return
    theirs = f"environment:{_INTERVAL}" if interval != exporter["interval"] else "interval"
    values = {"dcgm:prometheus:scrape_interval": scrape, f"dcgm:exporter:{theirs}": f"{interval} ms"}
    # The one that the site did not write keeps its value.
    written = "scrape_interval" in pillar.get("prometheus", {})
    wrong, other = values if written else reversed(values)
    slower = milliseconds(scrape) > interval
    yield (
        f"{wrong}: {values[wrong]} is not {other}, {values[other]}: Prometheus would "
        + ("miss samples that the exporter takes" if slower else "store each sample of the exporter several times")
        + "; make them equal"
    )


def _of_own(prometheus: dict[str, Any]) -> Iterator[str]:
    """What stands in no file of an existing Prometheus must not look as if it did."""
    for key in (*_LISTS, "external_labels"):
        if prometheus["mode"] == "existing" and prometheus[key]:
            yield (
                f"dcgm:prometheus:{key}: with mode existing nothing of it is written; take it out, and put it into "
                "that Prometheus' own configuration"
            )


def _taken(prometheus: dict[str, Any]) -> Iterator[str]:
    """What this project keeps beside the configuration of its Prometheus is no place for something else."""
    kept = (paths.PROMETHEUS_RECORD, paths.PROMETHEUS_WEB, paths.PROMETHEUS_GOOD, paths.PROMETHEUS_RULES)
    config, data = (os.path.normpath(prometheus[key]) for key in ("config", "data"))
    for place in kept:
        if f"{config}/".startswith(f"{place}/"):
            yield f"dcgm:prometheus:config: {config}: {place} is kept by this project; choose another name"
    if f"{data}/".startswith(f"{paths.PROMETHEUS_CONFIG}/") or f"{paths.PROMETHEUS_CONFIG}/".startswith(f"{data}/"):
        yield f"dcgm:prometheus:data: {data} and {paths.PROMETHEUS_CONFIG} lie in one another; choose another directory"


def _jobs(prometheus: dict[str, Any]) -> Iterator[str]:
    seen = list(paths.SCRAPE_NAMES)
    for position, job in enumerate(prometheus["scrape_configs"]):
        name = job.get("job_name")
        key = f"dcgm:prometheus:scrape_configs[{position}]"
        if not isinstance(name, str) or not name:
            yield f"{key}: job_name is missing"
        elif name in seen:
            whose = "this project has" if name in paths.SCRAPE_NAMES else "there is"
            yield f"{key}: {whose} a job {name} already; choose another job_name"
        else:
            seen.append(name)


def _secrets(value: Any, key: str) -> Iterator[str]:
    """Every minion gets the pillar, a state shows what changes, and the file of ours is kept."""
    if isinstance(value, dict):
        for name, item in value.items():
            if item and _is_secret(name, item, key):
                yield f"{key}:{name}: the pillar is no place for a secret; put it into a file and give {_INLINE[name]}"
            else:
                yield from _secrets(item, f"{key}:{name}")
    elif isinstance(value, list | tuple):
        for position, item in enumerate(value):
            yield from _secrets(item, f"{key}[{position}]")
    elif isinstance(value, str) and _USER_INFO.match(value):
        yield (
            f"{key}: the address has a user or password before its host, and the pillar is no place for a secret; "
            "give basic_auth with username and password_file"
        )


def _is_secret(name: Any, item: Any, key: str) -> bool:
    if name not in _INLINE or isinstance(item, dict):
        return False
    # A number is one, too: YAML makes one of a password of digits.
    return name != "key" or key.endswith(_OF_TLS)


def _outside(labels: dict[str, str]) -> Iterator[str]:
    for name, value in labels.items():
        if name.startswith("__"):
            yield f"dcgm:prometheus:external_labels:{name}: names with __ at the front are Prometheus' own"
        if "$" in value:
            yield (
                f"dcgm:prometheus:external_labels:{name}: {value!r} has a $, which Prometheus 3 takes for a variable "
                "of its environment; write it without"
            )
