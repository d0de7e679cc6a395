"""Who serves the watcher's metrics on a head: what follows for states, users, ports, Prometheus and the watcher."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from superpod_dcgm.base import paths, systemd
from superpod_dcgm.config import applied, derive, resolve, scrape, system_users, units

ROOT = Path(__file__).parents[3]
DEFAULTS, SCHEMA, COMPATIBILITY = (
    yaml.safe_load((ROOT / f"salt/dcgm/{name}.yaml").read_text()) for name in ("defaults", "schema", "compatibility")
)
HEAD = {"hosts": {"head": "bcm-01"}}
HEAD_JOB = paths.SCRAPE_JOBS[2]
SERVICE, CLEAN, LINK = (f"dcgm.watcher.{name}" for name in ("metrics", "metrics_clean", "metrics_link"))


def configuration(pillar: dict[str, Any]) -> dict[str, Any]:
    return resolve.configuration(DEFAULTS, SCHEMA, COMPATIBILITY, pillar)


# name: (pillar, whether ours serves them, whether they are written, states of the head)
SITES = {
    "by default": (HEAD, True, True, {SERVICE, LINK}),
    "a node_exporter of others": (
        {**HEAD, "head_metrics": {"textfile_directory": "/var/lib/ne"}},
        *(False, True, {CLEAN, LINK}),
    ),
    "a node_exporter of others on nodes alone": (
        {**HEAD, "metrics": {"textfile_directory": "/var/lib/ne"}},
        *(True, True, {SERVICE, LINK}),
    ),
    "no metrics of ours": ({**HEAD, "metrics": {"enabled": False}}, False, False, {CLEAN, LINK}),
    "no watcher": ({**HEAD, "watcher": {"enabled": False}}, False, True, set()),
    "no head": ({}, False, True, {CLEAN, LINK}),
}


@pytest.mark.parametrize(("pillar", "served", "written", "states"), SITES.values(), ids=SITES.keys())
def test_the_pillar_says_who_serves_the_metrics_of_a_head(pillar, served, written, states) -> None:
    found = configuration(pillar)
    told = derive.watcher_settings(found)["head_metrics"]
    assert told == {"enabled": written, "served": served, "port": 9402, "file": paths.HEAD_METRICS}
    assert (HEAD_JOB in [job["job_name"] for job in scrape.configs(found)]) is served
    assert {SERVICE, CLEAN, LINK} & {*derive.head(found)} == states


def test_prometheus_finds_it_in_a_folder_of_its_own() -> None:
    (job,) = [one for one in scrape.configs(configuration(HEAD)) if one["job_name"] == HEAD_JOB]
    directory = configuration(HEAD)["targets"]["directory"]
    assert job["file_sd_configs"][0]["files"] == [f"{directory}/{HEAD_JOB}/*.json"]
    assert not {"tls_config", "basic_auth"} & job.keys()


def test_the_port_of_another_is_refused() -> None:
    for port, owner in ((9401, "the service of our own metrics"), (8081, "CMDaemon")):
        with pytest.raises(resolve.ConfigurationError, match=f"dcgm:head_metrics:port: {port} belongs to .*{owner}"):
            configuration({**HEAD, "head_metrics": {"port": port}})
    # Nobody listens there.
    assert configuration({"head_metrics": {"port": 9401}})["head_metrics"]["port"] == 9401


def test_a_node_does_not_become_another_one_by_what_its_head_serves() -> None:
    one, other = (
        applied.record(configuration({**HEAD, "head_metrics": {"port": port}}), DEFAULTS) for port in (9402, 9403)
    )
    assert one["digest"] == other["digest"]


def test_the_unit_serves_the_watchers_file_with_the_watchers_code() -> None:
    found = units.head_metrics(configuration(HEAD), "/opt/python")
    assert found["serves"]["arguments"] == f" {paths.HEAD_METRICS} 9402"
    assert (found["code"], found["user"]) == ("/usr/local/lib/superpod-dcgm/_utils", paths.AGENT_USER)


# name: (units that are there, users that the node gives up, users that the head gives up)
BOTH = {
    "a node": ([paths.TEXTFILE_UNIT], {"dcgm-exporter", "superpod-dcgm", "superpod-build"}, set()),
    "a head": ([paths.HEAD_METRICS_UNIT], {"dcgm-exporter", "superpod-build"}, {"superpod-dcgm"}),
    "both": ([paths.TEXTFILE_UNIT, paths.HEAD_METRICS_UNIT], {"dcgm-exporter", "superpod-build"}, set()),
    "neither": ([], {"dcgm-exporter", "superpod-dcgm", "superpod-build"}, set()),
}


@pytest.mark.parametrize(("there", "node", "head"), BOTH.values(), ids=BOTH.keys())
def test_a_user_that_has_work_on_the_same_machine_stays(tmp_path, monkeypatch, there, node, head) -> None:
    monkeypatch.setattr(systemd, "DIRECTORIES", (str(tmp_path),))
    for unit in there:
        (tmp_path / unit).touch()
    found = configuration(HEAD)
    assert {user["name"] for user in system_users.of_a_node_alone(found)} == node
    assert {user["name"] for user in system_users.of_head_alone(found)} == head
    assert [user["number"] for user in system_users.of_head(found)] == [372]
