"""A site's Prometheus is never taken over: ours runs beside it or is refused, and goes without a trace."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from own_prometheus import OUR_JOBS, OURS, Pillar, apply, changed, failed, jobs
from product import Cluster

from superpod.lab.layout import HEAD

pytestmark = pytest.mark.usefixtures("deployed")
ASKED = "Check that the existing Prometheus has our targets and rules"
RULES = "/etc/prometheus/superpod-dcgm-rules/*.yml"
SITE = """
global: {scrape_interval: 5s}
scrape_configs:
- {job_name: site, static_configs: [{targets: ['localhost:9']}]}
"""
# What a site has done to its Prometheus: a job, rules and a year of data.
TAKE = f"""
systemctl stop {OURS}
cp -a /etc/default/prometheus /root/default; cp -a /etc/prometheus/prometheus.yml /root/site.yml
cat > /etc/prometheus/prometheus.yml <<'END'
{SITE}END
echo 'ARGS="--storage.tsdb.retention.time=1y"' > /etc/default/prometheus
systemctl enable --now prometheus
"""
# Only if the state did not.
LEAVE = """
systemctl disable --now prometheus
mv /root/default /etc/default/prometheus; mv /root/site.yml /etc/prometheus/prometheus.yml
rm -rf /etc/prometheus/scrape_configs.d
"""
# Everything of the site's Prometheus that a state might touch.
STATE = """
systemctl show -p MainPID,ActiveState,UnitFileState,ExecStart,DropInPaths prometheus | grep -v start_time
ls -lR --time-style=full-iso /etc/prometheus /etc/default/prometheus /etc/systemd/system/prometheus.service* 2>/dev/null
stat -c '%U %a' /var/lib/prometheus /var/lib/prometheus/*
"""


@pytest.fixture(scope="module")
def pillar(cluster: Cluster) -> Iterator[Callable[..., None]]:
    """Return a function that sets keys of the section prometheus in the lab's pillar."""
    of_lab = Pillar(cluster)

    def change(**keys: Any) -> None:
        hosts = {"monitoring": keys.pop("monitoring")} if "monitoring" in keys else {}
        of_lab.set(hosts=hosts, prometheus=keys)

    yield change
    of_lab.restore()


@pytest.fixture(scope="module")
def site(cluster: Cluster, pillar: Callable[..., None]) -> Iterator[str]:
    """A Prometheus of the site on 9090, and what is to be seen of it."""
    cluster.shell("head", TAKE)
    cluster.wait("the site's Prometheus", lambda: jobs(cluster, 9090) == {"site"})
    yield cluster.shell("head", STATE)
    cluster.shell("head", LEAVE)
    pillar()
    cluster.lab.salt(HEAD, "state.apply", "dcgm.prometheus")


@pytest.mark.parametrize("test", [True, False])
def test_on_the_port_of_the_site_ours_is_refused_before_anything_is_changed(
    cluster: Cluster, site: str, pillar: Callable[..., None], test: bool
) -> None:
    pillar()
    steps, code = apply(cluster, test=test)
    (sentence,) = failed(steps)
    assert "dcgm:prometheus:port: on 9090 listens /usr/bin/prometheus (process" in sentence
    assert "prometheus.service)" in sentence
    assert (changed(steps), code) == ([], 1)
    assert cluster.shell("head", STATE) == site


def test_on_another_port_ours_runs_beside_it(cluster: Cluster, site: str, pillar: Callable[..., None]) -> None:
    pillar(port=9190)
    steps, code = apply(cluster)
    assert (failed(steps), code) == ([], 0)
    assert jobs(cluster, 9190) == OUR_JOBS
    assert jobs(cluster, 9090) == {"site"}
    assert cluster.shell("head", f"systemctl show -P User {OURS}") == "superpod-prometheus"
    assert int(cluster.shell("head", "id -u superpod-prometheus")) < 1000
    steps, _ = apply(cluster)
    assert changed(steps) == []
    assert cluster.shell("head", STATE) == site


def test_a_configuration_that_promtool_refuses_changes_nothing(
    cluster: Cluster, site: str, pillar: Callable[..., None]
) -> None:
    pillar(port=9190, scrape_configs=[{"job_name": "more", "metrics_path": 5, "nonsense": True}])
    before = cluster.shell("head", "sha256sum /etc/superpod-prometheus/prometheus.yml")
    steps, code = apply(cluster)
    assert "nonsense" in "".join(failed(steps))
    assert code == 1
    assert cluster.shell("head", "sha256sum /etc/superpod-prometheus/prometheus.yml") == before
    assert jobs(cluster, 9190) == OUR_JOBS


def test_one_that_does_not_come_up_goes_back_to_what_did(
    cluster: Cluster, site: str, pillar: Callable[..., None]
) -> None:
    pillar(port=9190, program="/usr/bin/prometheus-of-nobody", start_timeout=5)
    cluster.shell("head", "printf '#!/bin/sh\nexit 3\n' > /usr/bin/prometheus-of-nobody")
    cluster.shell("head", "chmod 755 /usr/bin/prometheus-of-nobody")
    steps, code = apply(cluster)
    cluster.shell("head", "rm /usr/bin/prometheus-of-nobody")
    assert "It runs as before, by what it last ran by" in "".join(failed(steps))
    assert code == 1
    assert jobs(cluster, 9190) == OUR_JOBS


def test_own_becomes_existing_and_says_what_is_left_to_do(
    cluster: Cluster, site: str, pillar: Callable[..., None]
) -> None:
    path = "/etc/prometheus/scrape_configs.d/dcgm-exporter.yml"
    pillar(mode="existing")
    steps, code = apply(cluster)
    assert (failed(steps), code) == ([], 0)
    (to_do,) = [step["changes"]["to do"] for step in steps if step["__id__"] == ASKED]
    assert to_do.startswith(f"In /etc/prometheus/prometheus.yml, add `scrape_config_files: [{path}]`")
    assert f"add `{RULES}` to `rule_files`" in to_do
    # 2.53 would refuse the whole file.
    assert "fallback_scrape_protocol" not in cluster.shell("head", f"cat {path}")
    assert cluster.shell("head", f"ls -d /etc/superpod-prometheus /etc/systemd/system/{OURS} 2>&1 | wc -l") == "2"
    assert "No such file" in cluster.shell("head", "ls /etc/superpod-prometheus 2>&1 || true")
    assert jobs(cluster, 9190) == set()
    lines = rf"scrape_config_files: [{path}]\nrule_files: ['{RULES}']"
    cluster.shell("head", f'sed -i "1i {lines}" /etc/prometheus/prometheus.yml; systemctl reload prometheus')
    cluster.wait("the nodes are targets", lambda: cluster.targets() == {"dgx-01", "dgx-02"})
    steps, _ = apply(cluster)
    assert changed(steps) == []


def test_clean_takes_ours_only_and_once(cluster: Cluster, site: str, pillar: Callable[..., None]) -> None:
    steps, _ = apply(cluster, "dcgm.prometheus.clean")
    assert changed(steps) == [
        "Remove the scrape configuration for an existing Prometheus",
        "Remove the rule files for an existing Prometheus",
    ]
    steps, _ = apply(cluster, "dcgm.prometheus.clean")
    assert changed(steps) == []
    cluster.shell("head", "sed -i 1,2d /etc/prometheus/prometheus.yml; systemctl reload prometheus")
    pid = "systemctl show -p MainPID,ActiveState,UnitFileState,ExecStart,DropInPaths prometheus | grep -v start_time"
    assert cluster.shell("head", pid) in site


def test_the_pillar_is_judged_on_the_head(cluster: Cluster, site: str, pillar: Callable[..., None]) -> None:
    pillar(mode="existing")
    done = cluster.lab.exec("head", ["salt-run", "--out=json", "dcgm.check"])
    assert (json.loads(done.stdout)["right"], done.returncode) == (True, 0)
    pillar(mode="existing", monitoring="mon-01")
    done = cluster.lab.exec("head", ["salt-run", "--out=json", "dcgm.check"])
    (sentence,) = json.loads(done.stdout)["problems"]
    assert (sentence.startswith("dcgm:hosts:monitoring: 'mon-01' matches none"), done.returncode) == (True, 1)
    steps, code = apply(cluster, "dcgm.head", test=True)
    assert (failed(steps), code) == ([sentence], 1)


def test_existing_becomes_own_and_takes_its_files_away(
    cluster: Cluster, site: str, pillar: Callable[..., None]
) -> None:
    path = "/etc/prometheus/scrape_configs.d/dcgm-exporter.yml"
    pillar(mode="existing")
    apply(cluster)
    assert cluster.shell("head", f"ls {path}") == path
    pillar(port=9190)
    steps, code = apply(cluster)
    assert (failed(steps), code) == ([], 0)
    assert jobs(cluster, 9190) == OUR_JOBS
    assert cluster.shell("head", f"ls {path} 2>/dev/null || true") == ""
    assert changed(apply(cluster)[0]) == []
