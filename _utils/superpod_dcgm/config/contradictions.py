"""What no schema can say: values that are allowed alone and not together, one sentence each."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

from superpod_dcgm.base import paths
from superpod_dcgm.config import counters, engine_address, grafana_checks, matches, monitored, releases
from superpod_dcgm.monitoring import alerts

# Taken on BCM nodes and heads whatever the pillar says.
_FOREIGN_PORTS = {
    **{22: "sshd", 4505: "the Salt master", 4506: "the Salt master", 9100: "node_exporter"},
    **{6817: "slurmctld", 6818: "slurmd", 6819: "slurmdbd"},
}
_PRIVILEGED = 1024
_PORTS = {
    **{"exporter": "the exporter", "metrics": "the service of our own metrics"},
    **{"head_metrics": "the service of the watcher's metrics", "prometheus": "our Prometheus"},
    "grafana": "our Grafana",
}
# Names of the environment that other keys set, and that more than the exporter goes by.
_ENVIRONMENT = {
    "DCGM_EXPORTER_LISTEN": "exporter:address and exporter:port",
    "DCGM_HPC_JOB_MAPPING_DIR": "job_map:directory and job_map:label",
    "DCGM_EXPORTER_WEB_CONFIG_FILE": "exporter:web_config",
    "DCGM_REMOTE_HOSTENGINE_INFO": "exporter:engine and exporter:engine_address",
}
# Labels of a target that the watcher or Prometheus sets, and labels of the series, which they would rename.
_WATCHERS_LABELS = ("job", "cluster", "host", "category", "instance", "__address__", "__managed_by__")
_METRICS_LABELS = (
    *("gpu", "UUID", "pci_bus_id", "device", "modelName", "Hostname", "hostname", "hpc_job", "DCGM_FI_DRIVER_VERSION"),
    *("GPU_I_ID", "GPU_I_PROFILE", "le", "quantile", "DCGM_FI_SYSTEM_DRIVER_VERSION", "err_code", "err_msg"),
    *("xid", "window_size_in_ms", "clock_event", "health_watch", "health_error_code", "nvlink", "nvswitch"),
    *("peer_gpu", "link_status", "gpu_uuid", "model_name"),
    # Those of our own metrics.
    *("user", "account", "partition", "script", "reason", "release", "method", "applied", "code", "source"),
    *("sxid", "severity", "action"),
)
_OUR_UNITS = (
    paths.UNIT,
    paths.DEVICES_UNIT,
    paths.JOB_MAP_UNIT,
    paths.TEXTFILE_UNIT,
    paths.PROMETHEUS_UNIT,
    paths.HEAD_METRICS_UNIT,
)


def errors(merged: dict[str, Any], pillar: dict[str, Any], compatibility: dict[str, Any]) -> list[str]:
    """
    Return one sentence per contradiction.

    :param merged: defaults with the pillar's values over them.
    :param pillar: what the site wrote: of two values that clash, its is named.
    """
    return [
        *matches.errors(merged["hosts"]),
        *_ports(merged, pillar),
        *_release(merged, pillar, compatibility),
        *_exporter(merged["exporter"]),
        *counters.errors(merged["exporter"]["counter_rows"]),
        *_pairs(merged),
        *_places(merged),
        *_labels(merged["targets"]["labels"]),
        *monitored.errors(merged, pillar),
        *_users(merged["users"]),
        *alerts.errors(merged),
        *grafana_checks.errors(merged),
    ]


def serves_own_metrics(metrics: dict[str, Any]) -> bool:
    """Return whether a service of ours serves this project's own metrics, by the section ``metrics``."""
    return bool(metrics["enabled"] and not metrics["textfile_directory"])


def serves_head_metrics(merged: dict[str, Any]) -> bool:
    """Return whether a service of ours serves the watcher's own metrics on the head."""
    has_watcher = merged["watcher"]["enabled"] and bool(merged["hosts"]["head"])
    return bool(has_watcher and merged["metrics"]["enabled"] and not merged["head_metrics"]["textfile_directory"])


def _listening(merged: dict[str, Any]) -> dict[str, int]:
    """Return the port of each service of ours that this site has, by its section."""
    prometheus = merged["prometheus"]
    has = {
        "exporter": merged["exporter"]["enabled"],
        "metrics": merged["slurm"]["enabled"] and serves_own_metrics(merged["metrics"]),
        "head_metrics": serves_head_metrics(merged),
        "prometheus": prometheus["enabled"] and prometheus["mode"] == "own" and bool(merged["hosts"]["monitoring"]),
        "grafana": merged["grafana"]["enabled"] and merged["grafana"]["mode"] == "own",
    }
    return {section: merged[section]["port"] for section, there in has.items() if there}


def _ports(merged: dict[str, Any], pillar: dict[str, Any]) -> Iterator[str]:
    ports = _listening(merged)
    foreign = {
        **_FOREIGN_PORTS,
        engine_address.port(merged["exporter"]["engine_address"]): "the DCGM host engine",
        merged["watcher"]["port"]: "BCM's CMDaemon",
    }
    for section, port in ports.items():
        if port in foreign:
            yield f"dcgm:{section}:port: {port} belongs to {foreign[port]}; choose another"
        elif port < _PRIVILEGED and not (section == "exporter" and merged["exporter"]["engine"] == "embedded"):
            yield (
                f"dcgm:{section}:port: {port} is below {_PRIVILEGED}, where only root may listen, and "
                f"{_PORTS[section]} runs as a user of its own; choose a port from {_PRIVILEGED} on"
            )
    sections = list(ports)
    for number, one in enumerate(sections):
        for other in sections[number + 1 :]:
            if ports[one] == ports[other]:
                # The one that the site did not write keeps its port.
                wrong, right = (other, one) if "port" in pillar.get(other, {}) else (one, other)
                if "port" not in pillar.get(wrong, {}):
                    wrong, right = other, one
                yield (
                    f"dcgm:{wrong}:port: {ports[wrong]} belongs to {_PORTS[right]} (dcgm:{right}:port); choose another"
                )


def _release(merged: dict[str, Any], pillar: dict[str, Any], compatibility: dict[str, Any]) -> Iterator[str]:
    exporter, known = merged["exporter"], compatibility["releases"]
    release, commit = exporter["release"], exporter["commit"]
    try:
        facts = releases.facts(release, compatibility)
    except ValueError as exc:
        yield f"dcgm:exporter:release: {exc}; known are {', '.join(known)}"
        return
    builds = exporter["enabled"] and exporter["method"] == "build"
    if builds and not facts["known"] and not commit:
        needed = ["exporter:commit", *([] if facts["go"] else ["go:version", "go:sha256"])]
        yield (
            f"dcgm:exporter:release: {release!r} is unknown; known are {', '.join(known)}. For another one give "
            f"{' and '.join(needed)}; it is then taken to behave as {facts['assumed']} (docs/compatibility.md)"
        )
    yield from engine_address.errors(exporter["engine_address"], release, facts)
    others = [name for name, entry in known.items() if commit and entry["commit"] == commit and name != release]
    if others:
        yield f"dcgm:exporter:commit: {commit} is the commit of release {others[0]}, not of {release}"
    if builds and pillar.get("go", {}).get("version"):
        yield from _go(merged["go"], facts["go_minimum"], release, compatibility)


def _go(go: dict[str, Any], minimum: str, release: str, compatibility: dict[str, Any]) -> Iterator[str]:
    """What is wrong with the release of Go that the pillar pins."""
    if not go["enabled"] or go["method"] != "archive":
        return
    # Of one that a release names, the build says for which architecture the checksum is missing.
    of_releases = (entry["go"] for entry in compatibility["releases"].values() if entry["go"])
    known = list(dict.fromkeys([*compatibility["go"], *of_releases]))
    if minimum and _numbers(go["version"]) < _numbers(minimum):
        yield f"dcgm:go:version: {go['version']} is older than {minimum}, which release {release} needs"
    elif go["version"] not in known and not go["sha256"]:
        yield (
            f"dcgm:go:version: Go {go['version']} is unknown (known are {', '.join(known)}); give in go:sha256, "
            "by architecture, the SHA-256 that go.dev/dl publishes"
        )


def _numbers(version: str) -> tuple[int, ...]:
    numbers = [int(part) for part in version.split(".")]
    return (*numbers, *[0] * (3 - len(numbers)))


def _exporter(exporter: dict[str, Any]) -> Iterator[str]:
    address = exporter["address"]
    bare = address.strip("[]")
    if "]:" in address or (address.count(":") == 1 and re.fullmatch(r".+:\d+", address)):
        yield f"dcgm:exporter:address: {address!r} has a port in it; give that in exporter:port"
    elif ":" in bare and address != f"[{bare}]":
        yield f"dcgm:exporter:address: {address!r} needs brackets: [{bare}]"
    elif re.fullmatch(r"[0-9.]+", address) and not _is_ipv4(address):
        yield f"dcgm:exporter:address: {address!r} is no address"
    for name, keys in _ENVIRONMENT.items():
        if name in exporter["environment"]:
            yield f"dcgm:exporter:environment:{name}: this is what {keys} set, and other parts go by; use them"
    for unit in exporter["engine_units"]:
        if unit in _OUR_UNITS:
            yield f"dcgm:exporter:engine_units: {unit} is no DCGM host engine, but a service of this project"


def _is_ipv4(text: str) -> bool:
    parts = text.split(".")
    return len(parts) == 4 and all(part.isdigit() and int(part) < 256 for part in parts)


def _pairs(merged: dict[str, Any]) -> Iterator[str]:
    watcher, slurm = merged["watcher"], merged["slurm"]
    if bool(watcher["user"]) != bool(watcher["password_file"]):
        yield "dcgm:watcher:user: basic authentication needs both user and password_file"
    if not watcher["user"] and bool(watcher["certificate"]) != bool(watcher["key"]):
        yield "dcgm:watcher:key: a client certificate needs both certificate and key"
    if merged["targets"]["address"] == "fqdn" and not merged["targets"]["domain"]:
        yield "dcgm:targets:domain: it is empty, and targets:address: fqdn needs it; give the nodes' DNS domain"
    if slurm["prolog_link"] == slurm["epilog_link"]:
        yield f"dcgm:slurm:epilog_link: {slurm['epilog_link']!r} is the prolog's; give another path"


def _places(merged: dict[str, Any]) -> Iterator[str]:
    """Directories that one part of this project would empty or fill under another's hands."""
    places = {
        "exporter:build:directory": merged["exporter"]["build"]["directory"],
        "go:directory": merged["go"]["directory"],
        "exporter:store": merged["exporter"]["store"],
        "job_map:directory": merged["job_map"]["directory"],
        "slurm:local_directory": merged["slurm"]["local_directory"],
        "targets:directory": merged["targets"]["directory"],
        "prometheus:data": merged["prometheus"]["data"],
    }
    keys = list(places)
    for number, one in enumerate(keys):
        for other in keys[number + 1 :]:
            first, second = (f"{os.path.normpath(places[key])}/" for key in (one, other))
            if first == second:
                yield f"dcgm:{other}: {places[other]} is dcgm:{one} too; give each a directory of its own"
            elif first.startswith(second) or second.startswith(first):
                yield f"dcgm:{other}: {places[other]} and dcgm:{one}, {places[one]}, lie in one another; separate them"


def _labels(labels: dict[str, str]) -> Iterator[str]:
    for name in labels:
        if name in _WATCHERS_LABELS:
            yield f"dcgm:targets:labels:{name}: every target has a label of this name already; choose another"
        elif name in _METRICS_LABELS:
            yield f"dcgm:targets:labels:{name}: the metrics have a label of this name already; choose another"


def _users(numbers: dict[str, int]) -> Iterator[str]:
    """Two users of one number would be one user."""
    names: dict[int, str] = {}
    for name, number in numbers.items():
        if names.setdefault(number, name) != name:
            yield f"dcgm:users:{name}: {number} is that of dcgm:users:{names[number]}; give each its own"
