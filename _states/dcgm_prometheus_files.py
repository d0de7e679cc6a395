"""Files that a Prometheus reads: ours, checked by promtool, or one for a Prometheus of others to include."""

from __future__ import annotations

import os
from typing import Any

import yaml
from superpod_dcgm.base import state
from superpod_dcgm.monitoring import ownership, rules_installed, texts, version, written
from superpod_dcgm.monitoring import page as pages

# Given by Salt's loader.
__opts__: dict[str, Any]

_ERRORS = (OSError, KeyError)


def configured(name: str, contents: str, program: str, promtool: str, group: str) -> dict[str, Any]:
    """
    Write the configuration of our Prometheus as its version takes it, once promtool finds nothing wrong with it.

    :param name: the file; others than root and the group cannot read it.
    :param contents: its text for any version.
    :param program: path of prometheus, whose version is asked.
    :param promtool: path of promtool.
    :param group: the group of our Prometheus' user.

    .. code-block:: yaml

        Write the configuration of Prometheus:
          dcgm_prometheus_files.configured:
            - name: /etc/superpod-prometheus/prometheus.yml
            - contents: 'scrape_configs: []'
            - program: /usr/bin/prometheus
            - promtool: /usr/bin/promtool
            - group: superpod-prometheus
    """
    text = _fit(contents, version.of_program(program))
    return _written(written.File(name, text, promtool, ("check", "config"), group))


def web_configured(name: str, contents: str, promtool: str, group: str) -> dict[str, Any]:
    """
    Write or remove the web configuration of our Prometheus. What is in it is neither shown nor readable to others.

    :param name: the file.
    :param contents: its text; empty where there is to be none.
    :param promtool: path of promtool, which checks it.
    :param group: the group of our Prometheus' user.

    .. code-block:: yaml

        Write the web configuration of Prometheus:
          dcgm_prometheus_files.web_configured:
            - name: /etc/superpod-prometheus/web.yml
            - contents: ''
            - promtool: /usr/bin/promtool
            - group: superpod-prometheus
    """
    if contents:
        return _written(written.File(name, contents, promtool, ("check", "web-config"), group, secret=True))
    if not os.path.lexists(name) or not ownership.is_ours(name):
        return state.result(name, True, "Prometheus' page has neither TLS nor users")
    if __opts__["test"]:
        return state.result(name, None, f"{name} would be removed", {"removed": name})
    os.unlink(name)
    return state.result(name, True, f"{name} is removed", {"removed": name})


def rules(name: str, files: dict[str, str], promtool: str = "") -> dict[str, Any]:
    """
    Make sure that a directory has these rule files of ours and no others of ours. promtool checks all before one goes.

    :param name: the directory; what others put there stays.
    :param files: text by name.
    :param promtool: path of promtool; without one nothing is checked.

    .. code-block:: yaml

        Install the rule files:
          dcgm_prometheus_files.rules:
            - name: /etc/superpod-prometheus/rules
            - files: {dcgm.yml: 'groups: []'}
            - promtool: /usr/bin/promtool
    """
    wanted = rules_installed.Rules(name, files, promtool)
    if foreign := wanted.foreign():
        words = "was not written by this project: move it away"
        return state.result(name, False, "\n".join(f"{path} {words}" for path in foreign))
    todo = wanted.differences()
    if not todo:
        return state.result(name, True, f"{len(files)} rule files of ours are there")
    if __opts__["test"]:
        return state.result(name, None, "They would be changed, once promtool finds nothing wrong", todo)
    try:
        if wrong := wanted.refused():
            return state.result(name, False, "\n".join(wrong))
        wanted.install(todo)
    except OSError as exc:
        return state.result(name, False, f"The rule files cannot be changed: {exc}")
    left = wanted.differences()
    return state.result(name, not left, f"{len(files)} rule files of ours are there", todo)


def scrape_written(
    name: str, contents: str, page: dict[str, Any], version_given: str = "", promtool: str = ""
) -> dict[str, Any]:
    """
    Write the scrape configuration for a Prometheus of others as its version takes it.

    :param name: the file.
    :param contents: its text for any version.
    :param page: how that Prometheus is asked for its version: ``port``, ``tls``, ``ca``, ``user``, ``password_file``.
    :param version_given: its version, where it does not tell.
    :param promtool: path of promtool, which checks the text as its own version takes it.

    .. code-block:: yaml

        Write the scrape configuration for the existing Prometheus:
          dcgm_prometheus_files.scrape_written:
            - name: /etc/prometheus/scrape_configs.d/dcgm-exporter.yml
            - contents: 'scrape_configs: []'
            - page: {port: 9090}
    """
    known = version.of_server(pages.Page(**page)) or version.parse(version_given)
    file = written.File(name, _fit(contents, known), promtool, ("check", "config"))
    ret = _written(file, _fit(contents, version.of_program(promtool)))
    if ret["changes"] and ret["result"]:
        ret["comment"] += "; a Prometheus that includes it has to be reloaded"
    if known:
        return ret
    note = (
        f"The version of the Prometheus that includes {name} is not known (nobody tells on dcgm:prometheus:port, "
        f"{page['port']}): the file is for any version. One from 3.0 on takes an exporter without rows for one that is "
        "down: give dcgm:prometheus:version"
    )
    return {**ret, "warnings": [note]}


def _fit(contents: str, known: version.Version) -> str:
    return contents if known < version.FALLBACK else texts.text(texts.fit(yaml.safe_load(contents), known))


def _written(file: written.File, checked: str | None = None) -> dict[str, Any]:
    """``checked``: the text that promtool is given, where it is not the file's own."""
    try:
        differences = file.differences()
        if not differences:
            return state.result(file.path, True, f"{file.path} is as it should be")
        changes = {"diff": differences}
        if __opts__["test"]:
            return state.result(file.path, None, f"{file.path} would be written", changes)
        if problem := file.refused(checked):
            return state.result(file.path, False, f"{file.path} is not written: {problem}")
        file.write()
        left = file.differences()
    except _ERRORS as exc:
        return state.result(file.path, False, f"{file.path} cannot be written: {exc}")
    return state.result(file.path, not left, f"{file.path} is written", changes)


def scrape_possible(name: str) -> dict[str, Any]:
    """
    Check that the scrape configuration to include takes no file of others. Nothing is changed.

    :param name: the file.

    .. code-block:: yaml

        Check that the scrape configuration is ours to write:
          dcgm_prometheus_files.scrape_possible:
            - name: /etc/prometheus/scrape_configs.d/dcgm-exporter.yml
    """
    foreign = os.path.lexists(name) and not ownership.is_ours_to_include(name)
    words = "was not written by this project: choose another path" if foreign else "is ours to write"
    return state.result(name, not foreign, f"dcgm:prometheus:scrape_config: {name} {words}")


def scrape_removed(name: str) -> dict[str, Any]:
    """
    Remove the scrape configuration for a Prometheus of others, if it is ours, and its directory once that is empty.

    :param name: the file.

    .. code-block:: yaml

        Remove the scrape configuration:
          dcgm_prometheus_files.scrape_removed:
            - name: /etc/prometheus/scrape_configs.d/dcgm-exporter.yml
    """
    if not os.path.lexists(name):
        return state.result(name, True, f"{name} is not there")
    if not ownership.is_ours_to_include(name):
        return state.result(name, True, f"{name} was not written by this project and stays")
    changes = {"removed": name}
    if __opts__["test"]:
        return state.result(name, None, f"{name} would be removed", changes)
    folder = os.path.dirname(name)
    try:
        os.unlink(name)
        if not os.listdir(folder):
            os.rmdir(folder)
    except OSError as exc:
        return state.result(name, False, f"{name} cannot be removed: {exc}")
    return state.result(name, True, f"{name} is removed; take it out of that Prometheus' scrape_config_files", changes)
