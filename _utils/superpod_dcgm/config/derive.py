"""
What follows from the configuration, and nobody should have to write: for this machine, for scripts, watcher and master.

Everything takes the whole configuration or the sections that it is named after, and changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from superpod_dcgm.base import paths, systemd
from superpod_dcgm.config import access, contradictions, system_users, units
from superpod_dcgm.exporter import artifacts, go, source

_KINDS = ("prolog", "epilog")
# As they are taken away: who starts another comes first.
_AGENT_UNITS = (paths.JOB_MAP_TIMER, paths.JOB_MAP_UNIT, paths.DEVICES_UNIT)
_ROLES_CHANGED = {"superpod/bcm/roles/changed": ["salt://dcgm/reactor/roles_changed.sls"]}


def node(configuration: dict[str, Any], arch: str, builder: bool, executable: str) -> dict[str, Any]:
    """
    Return what the configuration means on this machine; some of it depends on what is installed here.

    :param arch: ``amd64`` or ``arm64``.
    :param builder: whether this machine may build the exporter.
    :param executable: the Python that runs Salt.
    """
    exporter, job_map = configuration["exporter"], configuration["job_map"]
    release, commit = exporter["release"], exporter["facts"]["commit"]
    found, conf = engine(exporter), job_map_conf(configuration)
    builds = exporter["enabled"] and exporter["method"] == "build"
    builds_here = builds and builder and not artifacts.is_stored(exporter["store"], release, arch, commit)
    bundle = source.bundle(exporter["store"], commit)
    return {
        "arch": arch,
        "engine": found,
        "environment": environment(exporter, job_map["directory"] if job_map["label"] else "", found["mode"]),
        "job_map": conf,
        "agent": units.agent(configuration, conf["textfile"], python(executable)),
        "agent_units": {
            "names": [*_AGENT_UNITS],
            "files": [f"{systemd.DIRECTORIES[0]}/{unit}" for unit in _AGENT_UNITS],
        },
        "serves_metrics": contradictions.serves_own_metrics(configuration["metrics"]),
        "users": system_users.needed(configuration, found["mode"] == "remote", builds_here),
        "all_users": system_users.of_a_node_alone(configuration),
        "head_users": system_users.of_head(configuration),
        "head_users_alone": system_users.of_head_alone(configuration),
        "head_metrics": units.head_metrics(configuration, python(executable)),
        "prometheus_users": system_users.of_monitoring(configuration),
        "metrics_url": metrics_url(exporter),
        "web_config": {
            "path": access.web_config(exporter),
            "text": access.exporter_text(exporter),
            "user": exporter["user"] if found["mode"] == "remote" else "root",
        },
        "artifact": artifacts.artifact_directory(exporter["store"], release, arch),
        "builds_here": builds_here,
        "wait": exporter["build"]["wait"] if exporter["method"] == "build" and not builds_here else 0,
        # A node whose roles nobody delivers need not wait for them at boot.
        "boot_wait": exporter["boot_wait"] if _follows_roles(configuration) else 0,
        "bundle": bundle,
        "source": source.choose(exporter["source"], bundle),
        "places": places(configuration),
        "go": go.prefix(configuration["go"]),
        "go_source": configuration["go"]["source"].format(version=configuration["go"]["version"], arch=arch),
    }


def places(configuration: dict[str, Any]) -> list[str]:
    """Return what an apply puts on a node and what has to be there: one that lacks some of it was re-provisioned."""
    slurm, found = configuration["slurm"], list[str]()
    if configuration["exporter"]["enabled"]:
        found += [paths.UNIT_FILE, paths.EXPORTER_ENVIRONMENT, paths.EXPORTER_COUNTERS, paths.EXPORTER_LINK]
        found += [paths.EXPORTER_WEB] if access.secured(configuration["exporter"]) else []
    if slurm["enabled"]:
        found += [paths.JOB_MAP_CONFIG, paths.TMPFILES_CONFIG, paths.NODE_CODE]
        found += [f"{systemd.DIRECTORIES[0]}/{unit}" for unit in _AGENT_UNITS]
        for script in scripts(slurm).values():
            found += [script["link"], *([script["local"]] if slurm["scripts"] == "local" else [])]
    return found


def head(configuration: dict[str, Any]) -> list[str]:
    """Return the states of a head: the watcher, and what the nodes take from shared storage."""
    exporter, slurm = configuration["exporter"], configuration["slurm"]
    chosen = {
        "dcgm.hosts": True,
        "dcgm.present": True,
        "dcgm.exporter.source": exporter["enabled"] and exporter["method"] == "build",
        "dcgm.slurm.shared": slurm["enabled"] and slurm["scripts"] == "shared",
        "dcgm.watcher": configuration["watcher"]["enabled"],
        "dcgm.watcher.metrics_link": configuration["watcher"]["enabled"],
    }
    served = "metrics" if contradictions.serves_head_metrics(configuration) else "metrics_clean"
    chosen[f"dcgm.watcher.{served}"] = configuration["watcher"]["enabled"]
    return [state for state, wanted in chosen.items() if wanted]


def _follows_roles(configuration: dict[str, Any]) -> bool:
    return bool(configuration["watcher"]["enabled"] and configuration["roles"]["source"] != "none")


def scripts(slurm: dict[str, Any]) -> dict[str, dict[str, str]]:
    """
    Return where prolog and epilog are, by kind.

    ``link`` is what slurmd runs and ``target`` where it leads: to ``local``, the node's own copy, or to ``shared``.
    """
    found = {}
    for kind in _KINDS:
        name = f"{kind}-dcgm.sh"
        directory = slurm["shared_directory"].replace("{kind}", kind)
        local, shared = f"{slurm['local_directory']}/{name}", f"{directory}/{name}"
        found[kind] = {
            "link": slurm[f"{kind}_link"],
            "target": local if slurm["scripts"] == "local" else shared,
            "local": local,
            "shared": shared,
            "shared_directory": directory,
        }
    return found


def shared_storage(configuration: dict[str, Any]) -> dict[str, list[str]]:
    """
    Return what of a node is shared with others.

    ``places`` are directories of which the pillar says so, ``stores`` those that have to be.
    """
    slurm = configuration["slurm"]
    directories = [script["shared_directory"] for script in scripts(slurm).values()]
    stores = [configuration["exporter"]["store"], *directories]
    return {"places": slurm["shared_places"], "stores": list(dict.fromkeys(stores))}


def master(watcher: dict[str, Any]) -> dict[str, Any]:
    """Return the entries of the Salt master's configuration; Salt merges no lists, so the site's own are among them."""
    more = watcher["master"]
    return {
        "module_dirs": [paths.WATCHER_CODE, *more.get("module_dirs", [])],
        "engines": [{"bcm_watcher": {}}, *more.get("engines", [])],
        "reactor": [_ROLES_CHANGED, *more.get("reactor", [])],
    }


def watcher_settings(configuration: dict[str, Any]) -> dict[str, Any]:
    """Return what the watcher on the master has to know of the configuration; ``dcgm.watcher`` writes it to a file."""
    watcher, build = configuration["watcher"], configuration["exporter"]["build"]
    return {
        **{key: configuration[key] for key in ("cluster", "hosts", "roles", "targets")},
        "watcher": {
            **{key: value for key, value in watcher.items() if key not in ("enabled", "master")},
            "ca": paths.WATCHER_CA,
        },
        "exporter": {key: configuration["exporter"][key] for key in ("enabled", "port", "release")},
        "metrics": {
            "served": configuration["slurm"]["enabled"] and contradictions.serves_own_metrics(configuration["metrics"]),
            "port": configuration["metrics"]["port"],
        },
        "head_metrics": {
            "enabled": configuration["metrics"]["enabled"],
            "served": contradictions.serves_head_metrics(configuration),
            "port": configuration["head_metrics"]["port"],
            "file": paths.HEAD_METRICS,
        },
        "longest_apply": watcher["deadline"] + build["timeout"] + build["wait"],
        "snapshot": paths.SNAPSHOT,
    }


def job_map_conf(configuration: dict[str, Any]) -> dict[str, str]:
    """
    Return job-map.conf by key, in the order in which they are written.

    :param configuration: the whole, as ``resolve.configuration`` returns it.
    """
    slurm, job_map, metrics = (configuration[section] for section in ("slurm", "job_map", "metrics"))
    exporter = configuration["exporter"]
    own = metrics["textfile_directory"] or paths.TEXTFILE_DIRECTORY
    values = {
        **{"directory": job_map["directory"], "time_limit": job_map["time_limit"], "log": job_map["log"]},
        **{"shared": _shared(slurm["gres"]), "users": job_map["users"], "positions": slurm["positions"]},
        **{key: job_map[key] for key in ("grace", "reconcile")},
        **{"textfile": own if metrics["enabled"] else "", "port": metrics["port"]},
        "web_config": access.web_config(exporter) if exporter["enabled"] else "",
        **{key: slurm[key] for key in ("prolog_link", "epilog_link", "commands")},
        **{f"limit_{key}": seconds for key, seconds in configuration["limits"].items()},
        **of_release(configuration["exporter"]["facts"], job_map["label"]),
    }
    return {key: _text(value) for key, value in values.items()}


def of_release(facts: dict[str, Any], label: bool) -> dict[str, str]:
    """
    Return the keys that depend on how a release of the exporter reads the map.

    :param facts: what compatibility.yaml says of it.
    :param label: whether it reads the map; what it cannot read does no harm where it reads nothing.
    """
    idle = "unlink" if facts["empty_hides"] else "empty"
    return {"idle": idle, "mig": _text(facts["mig_map"] or not label)}


def _shared(gres: list[str]) -> str:
    """Return when a GPU may hold several live jobs: the environment of a job tells mps, but not shard, from gpu."""
    return "yes" if "shard" in gres else "mps" if "mps" in gres else "no"


def _text(value: Any) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def python(executable: str) -> str:
    """
    Return the Python that runs the services of a node: Salt's own, since RHEL 8 has only 3.6.

    :param executable: what Salt itself runs by. Its name may carry a version that an update of Salt replaces.
    """
    stable = os.path.join(os.path.dirname(executable), "python3")
    # /usr/bin/python3 may be another Python than the /usr/bin/python3.11 that runs Salt.
    return stable if os.path.realpath(stable) == os.path.realpath(executable) else executable


def installed_unit(units: Iterable[str]) -> str:
    """Return the first of ``units`` that is installed and not masked on this machine, or ``""``."""
    for unit in units:
        files = [path for folder in systemd.DIRECTORIES if os.path.lexists(path := os.path.join(folder, unit))]
        if files and os.path.realpath(files[0]) != "/dev/null":
            return unit
    return ""


def engine(exporter: dict[str, Any]) -> dict[str, str]:
    """
    Return ``{"mode": "remote" | "embedded", "unit": …}`` for the section ``exporter`` on this machine.

    Two engines on one node are not supported by NVIDIA (NVIDIA/DCGM#108): ``auto`` is remote when a known
    engine is installed, whether or not it listens at this moment.
    """
    unit = installed_unit(exporter["engine_units"])
    mode = exporter["engine"]
    if mode == "auto":
        mode = "remote" if unit else "embedded"
    return {"mode": mode, "unit": unit}


def environment(exporter: dict[str, Any], job_map: str, mode: str) -> dict[str, str]:
    """
    Return the environment of the service, sorted by name; ``exporter:environment`` of the pillar wins.

    :param job_map: the directory of the job map; empty for metrics without the label ``hpc_job``.

    The names belong to upstream's flags (NVIDIA/dcgm-exporter, pkg/cmd/app.go).
    """
    values = {
        "DCGM_EXPORTER_COLLECTORS": paths.EXPORTER_COUNTERS,
        "DCGM_EXPORTER_INTERVAL": str(exporter["interval"]),
        "DCGM_EXPORTER_LISTEN": f"{exporter['address']}:{exporter['port']}",
    }
    if job_map:
        values["DCGM_HPC_JOB_MAPPING_DIR"] = job_map
    if mode == "remote":
        values["DCGM_REMOTE_HOSTENGINE_INFO"] = exporter["engine_address"]
    if web_config := access.web_config(exporter):
        values["DCGM_EXPORTER_WEB_CONFIG_FILE"] = web_config
    values.update(exporter["environment"])
    return dict(sorted(values.items()))


def metrics_url(exporter: dict[str, Any]) -> str:
    """Return the address at which this node's own exporter answers."""
    address = exporter["address"]
    host = "127.0.0.1" if address in ("", "0.0.0.0", "[::]") else address
    return f"{access.scheme(exporter)}://{host}:{exporter['port']}/metrics"
