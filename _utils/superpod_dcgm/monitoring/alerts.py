"""Alerts for Prometheus as the configuration means them: groups of rules, what is left out, where they go."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from superpod_dcgm.monitoring import alert_site, alerts_gpus, alerts_jobs, alerts_nodes, alerts_xids
from superpod_dcgm.monitoring.alert_parts import Alert
from superpod_dcgm.monitoring.alert_site import Missing, Site

# group: its alerts
GROUPS: dict[str, tuple[Alert, ...]] = {
    "superpod-nodes": alerts_nodes.ALERTS,
    "superpod-xids": alerts_xids.ALERTS,
    "superpod-gpus": alerts_gpus.ALERTS,
    "superpod-jobs": alerts_jobs.ALERTS,
}
# What some alerts read, recorded in their own group where one of them does.
RECORDS: dict[str, Callable[[Site], str]] = {
    alerts_nodes.GPUS: alerts_nodes.gpus,
    alerts_xids.OF_DCGM: alerts_xids.of_dcgm,
    alerts_xids.OF_KERNEL: alerts_xids.of_kernel,
    alerts_gpus.SINGLE_BIT: alerts_gpus.single_bit,
    **{record: functools.partial(alerts_gpus.nvlink, record=record) for record in alerts_gpus.NVLINK},
}
# Labels that alerts have from elsewhere: with one value for all, two alerts would be one, and no rule may give that.
_TAKEN = (
    *("alertname", "severity", *alert_site.INSTANCE.split(", "), "xid", "hpc_job", "user", "account", "partition"),
    *("nvswitch", "sxid", "script", "reason", "release", "method", "action"),
)
_IDLE = "idle"
# Name or address, and port; that of IPv6 in brackets.
_HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?", re.ASCII)


def names() -> list[str]:
    """Return the names of all alerts, also of those that this site does not have."""
    return [alert.name for group in GROUPS.values() for alert in group]


def groups(configuration: Mapping[str, Any]) -> list[dict[str, Any]]:
    """
    Return the groups of rules of this site's alerts, as a rule file has them.

    :param configuration: the whole, as ``resolve.configuration`` returns it.
    """
    site, found = alert_site.of(configuration), list[dict[str, Any]]()
    for name, all_of_it in GROUPS.items():
        wanted = [(alert, text) for alert, text, why in _judged(configuration, site, all_of_it) if not why]
        read = [record for record in RECORDS if any(record in text for _, text in wanted)]
        rules = [{"record": record, "expr": RECORDS[record](site)} for record in read]
        rules += [_rule(configuration["alerts"], alert, text) for alert, text in wanted]
        found += [{"name": name, "rules": rules}] if rules else []
    return found


def left_out(configuration: Mapping[str, Any]) -> list[str]:
    """Return the alerts that this site does not have, and why: one sentence each."""
    site = alert_site.of(configuration)
    judged = (one for group in GROUPS.values() for one in _judged(configuration, site, group))
    return [f"{alert.name}: {why}" for alert, _, why in judged if why]


def comment(configuration: Mapping[str, Any]) -> str:
    """Return for a state which alerts this site does not have, and why."""
    if not configuration["alerts"]["enabled"]:
        return "This site has no alerts: dcgm:alerts:enabled is false"
    sentences = left_out(configuration)
    if not sentences:
        return "This site has all alerts"
    return "\n".join([f"Of {len(names())} alerts {len(sentences)} are left out (docs/alerts.md):", *sentences])


def _judged(
    configuration: Mapping[str, Any], site: Site, alerts: tuple[Alert, ...]
) -> Iterator[tuple[Alert, str, str]]:
    """Yield each alert with its expression, and why this site does not have it."""
    settings = configuration["alerts"]
    for alert in alerts:
        if not settings["enabled"]:
            yield alert, "", "alerts:enabled is false"
        elif alert.name in settings["disabled"]:
            yield alert, "", "alerts:disabled names it"
        else:
            try:
                yield alert, alert.expression(site), ""
            except Missing as exc:
                yield alert, "", str(exc)


def _rule(settings: Mapping[str, Any], alert: Alert, expression: str) -> dict[str, Any]:
    hold = f"{settings['thresholds']['idle']}s" if alert.hold == _IDLE else alert.hold
    if alert.name in settings["for"]:
        hold = f"{seconds}s" if (seconds := settings["for"][alert.name]) else ""
    return {
        "alert": alert.name,
        "expr": expression,
        **({"for": hold} if hold else {}),
        **({"keep_firing_for": alert.keep} if alert.keep else {}),
        "labels": {**settings["labels"], "severity": settings["severities"].get(alert.name, alert.severity)},
        "annotations": {
            "summary": alert.summary,
            "description": alert.description,
            "runbook_url": settings["runbooks"] + alert.name.lower(),
        },
    }


def alerting(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return the section ``alerting`` of prometheus.yml: where alerts go; nothing where they go nowhere."""
    addresses = configuration["alerts"]["alertmanagers"]
    return {"alertmanagers": [_manager(address) for address in addresses]} if addresses else {}


def _manager(address: str) -> dict[str, Any]:
    parts = urlsplit(address)
    path = parts.path.rstrip("/")
    return {
        "scheme": parts.scheme,
        **({"path_prefix": path} if path else {}),
        "static_configs": [{"targets": [parts.netloc]}],
    }


def errors(merged: Mapping[str, Any]) -> list[str]:
    """
    Return what no schema can say of the section ``alerts``, one sentence each.

    :param merged: defaults with the pillar's values over them.
    """
    settings = merged["alerts"]
    return [
        *_names(settings),
        *_labels(settings["labels"]),
        *_templates(settings),
        *_thresholds(merged),
        *_goes(merged),
        *_addresses(settings["alertmanagers"]),
    ]


def _names(settings: Mapping[str, Any]) -> Iterator[str]:
    known = names()
    for key in ("disabled", "severities", "for"):
        for name in settings[key]:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                meant = f" (did you mean {near[0]}?)" if near else ""
                yield f"dcgm:alerts:{key}: there is no alert {name}{meant}; docs/runbooks.md has all of them"
    for key in ("severities", "for"):
        for name in settings[key]:
            if name in settings["disabled"]:
                yield f"dcgm:alerts:{key}:{name}: alerts:disabled names it too; leave one of them out"
    for alert in (alert for group in GROUPS.values() for alert in group if alert.hold == _IDLE):
        if alert.name in settings["for"]:
            yield f"dcgm:alerts:for:{alert.name}: alerts:thresholds:idle says how long; set that key"


def _labels(labels: Mapping[str, str]) -> Iterator[str]:
    for name in labels:
        if name in _TAKEN:
            yield f"dcgm:alerts:labels:{name}: alerts have a label of this name already; choose another"
        elif name.startswith("__"):
            yield f"dcgm:alerts:labels:{name}: names that begin with __ are Prometheus' own; choose another"


def _templates(settings: Mapping[str, Any]) -> Iterator[str]:
    texts = {f"labels:{name}": value for name, value in settings["labels"].items()}
    for key, text in {**texts, "runbooks": settings["runbooks"]}.items():
        if "{{" in text:
            yield f"dcgm:alerts:{key}: {text!r} has {{{{ in it, which begins a template of Prometheus; write plain text"


def _addresses(addresses: Collection[str]) -> Iterator[str]:
    for position, address in enumerate(addresses):
        try:
            parts = urlsplit(address)
            good = bool(parts.hostname and _HOST.fullmatch(parts.netloc)) and parts.port != 0
        except ValueError:
            good = False
        if not good:
            yield (
                f"dcgm:alerts:alertmanagers[{position}]: {address!r} has no host and port that can be used; it must "
                "be as http://mon-01:9093 or http://[fd00::1]:9093"
            )


def _thresholds(merged: Mapping[str, Any]) -> Iterator[str]:
    what = {
        "job_map": ("job_map:reconcile", merged["job_map"]["reconcile"], "two reconciliations"),
        "targets": ("watcher:interval", merged["watcher"]["interval"], "two polls"),
    }
    for name, (key, seconds, between) in what.items():
        age = merged["alerts"]["thresholds"][name]
        if age < 2 * seconds:
            yield (
                f"dcgm:alerts:thresholds:{name}: {age} is less than twice {key} ({seconds}), so that the alert would "
                f"fire between {between}; give {2 * seconds} or more"
            )


def _goes(merged: Mapping[str, Any]) -> Iterator[str]:
    if merged["alerts"]["alertmanagers"] and merged["prometheus"]["mode"] != "own":
        yield (
            "dcgm:alerts:alertmanagers: with prometheus:mode: existing alerts go where that Prometheus sends them; "
            "name the Alertmanager in its own configuration, and leave this key empty"
        )
