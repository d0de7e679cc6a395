"""A Prometheus that others run: whether it has our targets and rules, and what its administrator has to add where."""

from __future__ import annotations

import fnmatch
import glob
import os
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import yaml

from superpod_dcgm.base import paths
from superpod_dcgm.monitoring import version as versions
from superpod_dcgm.monitoring.page import Page

_ITS_CONFIGURATION = "the configuration of this host's Prometheus"
_ITS_SCRAPE_FILE = "the file that -promscrape.config of this host's VictoriaMetrics names"
_CONFIG = "/api/v1/status/config"
_RELOAD = "reload: "


@dataclass(frozen=True)
class Ours:
    """What it is to have: the file with our jobs, the directory of the target files, the rule files by their paths."""

    scrape_config: str
    targets: str
    rules: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """
    What it says: ``to_do`` for its administrator, in one sentence, empty where all is there.

    ``asked``: whether it could be asked; ``refused``: whether it wants another user. ``exporters``, ``rules``: how many
    targets and rule files it has of ours. ``twice``: jobs of others that scrape the same exporters.
    ``for_vmalert``: rule files that a VictoriaMetrics does not show: it has no rules itself.
    """

    asked: bool
    to_do: str = ""
    exporters: int = 0
    rules: int = 0
    twice: tuple[str, ...] = ()
    refused: bool = False
    for_vmalert: tuple[str, ...] = ()


def look(page: Page, ours: Ours) -> Found:
    """Return what the Prometheus behind a page has of ours, and what is missing."""
    page = page.rooted()
    config = _yaml(page)
    if config is None:
        version: versions.Version = ()
        to_do = _sentence([_include(ours, version), *_read_rules(ours.rules)], _ITS_CONFIGURATION)
        return Found(False, to_do, refused=page.fetch(_CONFIG)[0] in (401, 403))
    victoria = _is_victoria(page)
    # The version that it tells is one of Prometheus' API.
    version = () if victoria else versions.of_server(page)
    answer = page.data("/api/v1/targets")
    active = _mappings(answer, "activeTargets")
    names = {paths.SCRAPE_NAMES[0], *_pasted(config, ours)}
    exporters = [target for target in active if _pool(target) in names or _file(target) == ours.targets]
    # What its configuration names without a slash at the front is below this.
    below = str(page.data("/api/v1/status/runtimeinfo").get("CWD", "/"))
    missing = _not_loaded(ours.rules, page, below)
    include = _include_in_victoria(ours) if victoria else _include(ours, version)
    steps = _jobs_to_add(config, ours, include, answer, below)
    steps += [] if victoria else _rules_to_add(config, missing, below)
    files = glob.glob(f"{ours.targets}/[!_]*.json")
    where = _where(page, below, victoria)
    return Found(
        True,
        _sentence(steps, where) or (_unread(where, ours.targets, len(files)) if files and not exporters else ""),
        len(exporters),
        len(ours.rules) - len(missing),
        _twice(active, exporters, names),
        for_vmalert=tuple(missing) if victoria else (),
    )


def _where(page: Page, below: str, victoria: bool) -> str:
    """Its configuration file, by the best words that there are for it."""
    found = page.data("/api/v1/status/flags").get("config.file")
    return os.path.join(below, str(found)) if found else _ITS_SCRAPE_FILE if victoria else _ITS_CONFIGURATION


def _twice(active: list[dict[str, Any]], exporters: list[dict[str, Any]], names: set[str]) -> tuple[str, ...]:
    urls = {str(target.get("scrapeUrl")) for target in exporters}
    others = {_pool(target) for target in active if str(target.get("scrapeUrl")) in urls}
    return tuple(sorted(filter(None, others - {*names, *map(_pool, exporters)})))


def _is_victoria(page: Page) -> bool:
    """Whether it is a VictoriaMetrics, which answers for a Prometheus."""
    status, text = page.fetch("/-/healthy")
    return status == 200 and text.startswith("VictoriaMetrics")


def _yaml(page: Page) -> dict[str, Any] | None:
    """The configuration that it runs by; what it includes is not in it."""
    try:
        found = yaml.safe_load(page.data(_CONFIG)["yaml"])
    except (KeyError, AttributeError, ValueError, RecursionError, yaml.YAMLError):
        return None
    return found if isinstance(found, dict) else None if found else {}


def _jobs_to_add(config: dict[str, Any], ours: Ours, include: str, answer: dict[str, Any], below: str) -> list[str]:
    # The entry that is always dropped shows that a job is loaded, with targets or without, and by whatever path.
    known = {_pool(target) for key in ("droppedTargets", "activeTargets") for target in _mappings(answer, key)}
    if paths.SCRAPE_NAMES[0] in known:
        return []
    pasted = any(_is_ours(job, ours) for job in _list(config, "scrape_configs"))
    patterns = [os.path.join(below, str(pattern)) for pattern in _list(config, "scrape_config_files")]
    if not pasted and not any(_matches(ours.scrape_config, pattern) for pattern in patterns):
        return [include]
    if pasted or not answer:
        return []
    return [f"{_RELOAD}it has not read {ours.scrape_config} as it is now"]


def _include(ours: Ours, version: versions.Version) -> str:
    read = f"its user must be able to read {ours.targets}"
    if version and version < versions.INCLUDES:
        why = f"version {versions.words(version)} cannot include files"
        return f"copy the jobs of {ours.scrape_config} into scrape_configs ({why}; {read})"
    return f"add `scrape_config_files: [{ours.scrape_config}]` ({read})"


def _include_in_victoria(ours: Ours) -> str:
    why = f"what it includes has another form; its user must be able to read {ours.targets}"
    return f"copy the jobs of {ours.scrape_config} into scrape_configs ({why})"


def _rules_to_add(config: dict[str, Any], missing: Collection[str], below: str) -> list[str]:
    patterns = [os.path.join(below, str(pattern)) for pattern in _list(config, "rule_files")]
    unread = [path for path in missing if not any(_matches(path, pattern) for pattern in patterns)]
    if unread:
        return _read_rules(unread)
    return [f"{_RELOAD}it has not loaded {', '.join(sorted(missing))}"] if missing else []


def _read_rules(unread: Collection[str]) -> list[str]:
    folders = sorted({os.path.dirname(path) for path in unread})
    return [f"add `{folder}/*.yml` to `rule_files`" for folder in folders]


def _sentence(steps: list[str], where: str) -> str:
    """``steps``: what to add, in words that go after where; what only a reload brings begins with ``reload it``."""
    additions = [step for step in steps if not step.startswith(_RELOAD)]
    if additions:
        return f"In {where}, {', '.join(additions)}, and reload it"
    if steps:
        return f"Reload the Prometheus that runs by {where}: {', '.join(step.removeprefix(_RELOAD) for step in steps)}"
    return ""


def _unread(where: str, directory: str, count: int) -> str:
    return (
        f"Let the user of the Prometheus that runs by {where} read {directory}: it has none of the {count} target "
        "files there as targets"
    )


def _is_ours(job: Any, ours: Ours) -> bool:
    files = [file for discovery in _mappings(job, "file_sd_configs") for file in _list(discovery, "files")]
    return f"{ours.targets}/*.json" in files


def _pasted(config: dict[str, Any], ours: Ours) -> list[str]:
    """The names of the jobs of ours that were pasted, by whatever name."""
    return [str(job.get("job_name")) for job in _mappings(config, "scrape_configs") if _is_ours(job, ours)]


def _matches(path: str, pattern: str) -> bool:
    """Whether a path is among those of a pattern as Prometheus means it: `*` ends at a slash."""
    directory, name = os.path.split(os.path.normpath(pattern))
    pairs = (path, f"{directory}/{name}"), (os.path.realpath(path), f"{os.path.realpath(directory)}/{name}")
    for parts, patterns in ((one.split("/"), other.split("/")) for one, other in pairs):
        if len(parts) == len(patterns) and all(map(fnmatch.fnmatchcase, parts, patterns)):
            return True
    return False


def _not_loaded(rules: Collection[str], page: Page, below: str) -> list[str]:
    """Those of our rule files that it has not; in a container it may have them by a path that is none here."""
    groups = _mappings(page.data("/api/v1/rules"), "groups")
    files = {os.path.join(below, file) for group in groups if "\0" not in (file := str(group.get("file", "")))}
    loaded = {os.path.realpath(file) for file in files}
    elsewhere = {os.path.basename(file) for file in files if not os.path.lexists(file)}
    return [rule for rule in rules if os.path.realpath(rule) not in loaded and os.path.basename(rule) not in elsewhere]


def _pool(target: dict[str, Any]) -> str:
    """The name of a target's job in the configuration; a dropped one has it among its labels before relabelling."""
    discovered = target.get("discoveredLabels")
    return str(target.get("scrapePool") or (discovered.get("job", "") if isinstance(discovered, dict) else ""))


def _file(target: dict[str, Any]) -> str:
    """The directory of the file that a target is from."""
    discovered = target.get("discoveredLabels")
    return os.path.dirname(str(discovered.get("__meta_filepath", ""))) if isinstance(discovered, dict) else ""


def _list(found: Any, key: str) -> list[Any]:
    value = found.get(key) if isinstance(found, dict) else None
    return value if isinstance(value, list) else []


def _mappings(found: Any, key: str) -> list[dict[str, Any]]:
    return [each for each in _list(found, key) if isinstance(each, dict)]
