"""Our Prometheus goes on running while its files change, and takes none that is wrong."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Iterator

import pytest
from own_prometheus import OUR_JOBS, OURS, Pillar, apply, changed, failed, jobs
from product import Cluster

pytestmark = pytest.mark.usefixtures("deployed")
STARTED = "Start superpod-prometheus.service"
RULES = "/etc/superpod-prometheus/rules"
MORE = [{"job_name": "more", "static_configs": [{"targets": ["localhost:9"]}]}]
# The password "secret" under bcrypt.
HASH = "$2b$04$jRj.wlutGJbsgD4Q1JpHEezoRGycE3rEMJ7ezLBuz3Kt9qIe3AQga"
# A site's own program, beside a promtool that finds nothing wrong with anything.
FORGIVING = """
mkdir -p /opt/prometheus; cp /usr/bin/prometheus /opt/prometheus/; cp /usr/bin/true /opt/prometheus/promtool
chmod 755 /opt/prometheus
"""
PAIR = """
umask 077; mkdir -p /etc/lab-page; chmod 755 /etc/lab-page
openssl req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=mon -keyout /etc/lab-page/key -out /etc/lab-page/crt 2>&1
chgrp superpod-prometheus /etc/lab-page/key; chmod 640 /etc/lab-page/key; chmod 644 /etc/lab-page/crt
printf 'secret\n' > /etc/lab-page/password
"""


@pytest.fixture(scope="module")
def of_lab(cluster: Cluster) -> Iterator[Pillar]:
    """The lab's pillar; it and what it means are there again afterwards."""
    pillar = Pillar(cluster)
    yield pillar
    pillar.restore()
    assert failed(apply(cluster)[0]) == []
    cluster.shell("head", "rm -rf /opt/prometheus /etc/lab-page")
    cluster.wait("Prometheus scrapes the nodes", lambda: all(cluster.up(node) for node in ("dgx-01", "dgx-02")))


@pytest.fixture
def pillar(cluster: Cluster, of_lab: Pillar) -> Pillar:
    """The lab's pillar, applied."""
    of_lab.restore()
    assert failed(apply(cluster)[0]) == []
    return of_lab


def process(cluster: Cluster) -> str:
    return cluster.shell("head", f"systemctl show -P MainPID {OURS}")


def test_other_jobs_and_rules_are_read_by_the_process_that_runs(cluster: Cluster, pillar: Pillar) -> None:
    before = process(cluster)
    pillar.set(prometheus={"scrape_configs": MORE, "external_labels": {"site": "lab"}})
    rule = "groups: [{name: site, rules: [{record: 'site:up', expr: up}]}]"
    cluster.shell("head", f"mkdir -p {RULES}; echo {shlex.quote(rule)} > {RULES}/site.yml")
    try:
        steps, _ = apply(cluster)
        assert failed(steps) == []
        assert STARTED in changed(steps)
        assert jobs(cluster, 9090) == OUR_JOBS | {"more"}
        cluster.wait("the site's rule", lambda: cluster.lab.prometheus("site:up"))
        assert process(cluster) == before
        assert changed(apply(cluster)[0]) == []
    finally:
        cluster.shell("head", f"rm {RULES}/site.yml")


def test_a_rule_that_promtool_refuses_is_named_and_never_read(cluster: Cluster, pillar: Pillar) -> None:
    before = process(cluster)
    cluster.shell("head", f"mkdir -p {RULES}; echo 'groups: 5' > {RULES}/site.yml")
    try:
        steps, code = apply(cluster)
        (sentence,) = failed(steps)
        assert sentence.startswith(f"promtool: {RULES}/site.yml:")
        assert sentence.endswith("It runs as before, by what it last ran by")
        assert (code, process(cluster), jobs(cluster, 9090)) == (1, before, OUR_JOBS)
    finally:
        cluster.shell("head", f"rm {RULES}/site.yml")


def test_what_the_server_itself_refuses_is_put_back_while_it_runs_on(cluster: Cluster, pillar: Pillar) -> None:
    cluster.shell("head", FORGIVING)
    program = {"program": "/opt/prometheus/prometheus"}
    pillar.set(prometheus=program)
    assert failed(apply(cluster)[0]) == []
    before = process(cluster)
    pillar.set(prometheus={**program, "scrape_configs": [{"job_name": "more", "nonsense": True}]})
    steps, code = apply(cluster)
    (sentence,) = failed(steps)
    assert sentence.startswith("Prometheus refuses its configuration: ")
    assert "nonsense" in sentence
    assert (code, process(cluster), jobs(cluster, 9090)) == (1, before, OUR_JOBS)
    assert "nonsense" not in cluster.shell("head", "cat /etc/superpod-prometheus/prometheus.yml")
    (found,) = cluster.lab.prometheus("prometheus_config_last_reload_successful or vector(1)")
    assert found["value"][1] == "1"


def test_it_is_started_again_after_an_exit_code_of_1(cluster: Cluster, pillar: Pillar) -> None:
    taken = "systemd-run --quiet --collect --unit=lab-taker python3 -m http.server 9090"
    cluster.shell("head", f"systemctl stop {OURS}; {taken}; sleep 1; systemctl start {OURS}")
    ended = f"journalctl -u {OURS} -n 20 -o cat | grep -c 'code=exited, status=1/FAILURE' || true"
    try:
        cluster.wait("it ended by itself", lambda: cluster.shell("head", ended) != "0")
    finally:
        cluster.shell("head", "systemctl stop lab-taker")
    cluster.wait("it runs again, by itself", lambda: jobs(cluster, 9090) == OUR_JOBS)


def test_its_page_has_tls_and_a_password(cluster: Cluster, pillar: Pillar) -> None:
    cluster.shell("head", PAIR)
    web = {"certificate": "/etc/lab-page/crt", "key": "/etc/lab-page/key", "user": "admin", "hash": HASH}
    pillar.set(prometheus={"web": {**web, "password_file": "/etc/lab-page/password"}})
    steps, code = apply(cluster)
    assert (failed(steps), code) == ([], 0)
    assert HASH not in str(steps)
    assert cluster.shell("head", "stat -c '%U:%G %a' /etc/superpod-prometheus/web.yml") == (
        "root:superpod-prometheus 640"
    )

    def ask(user: str, scheme: str = "https") -> int:
        return cluster.lab.http(f"{scheme}://head:9090/-/ready", "--insecure", *(["-u", user] if user else []))[0]

    assert (ask(""), ask("admin:wrong"), ask("admin:secret")) == (401, 401, 200)
    assert ask("admin:secret", "http") == 400
    before = process(cluster)
    assert changed(apply(cluster)[0]) == []
    # Another name is read without a restart.
    pillar.set(prometheus={"web": {**web, "user": "other", "password_file": "/etc/lab-page/password"}})
    assert failed(apply(cluster)[0]) == []
    assert (ask("admin:secret"), ask("other:secret"), process(cluster)) == (401, 200, before)
    # A password that is not that of the hash would lock these states out.
    cluster.shell("head", "echo wrong > /etc/lab-page/password")
    pillar.set(prometheus={"web": {**web, "password_file": "/etc/lab-page/password"}})
    steps, _ = apply(cluster)
    assert "dcgm:prometheus:web:password_file" in "".join(failed(steps))
    cluster.shell("head", "echo secret > /etc/lab-page/password")
    assert ask("other:secret") == 200


def test_a_certificate_that_it_cannot_read_is_named(cluster: Cluster, pillar: Pillar) -> None:
    cluster.shell("head", f"{PAIR}chmod 600 /etc/lab-page/key")
    pillar.set(prometheus={"web": {"certificate": "/etc/lab-page/crt", "key": "/etc/lab-page/key"}})
    before = process(cluster)
    steps, _ = apply(cluster)
    assert "/etc/lab-page/key cannot be read by the user superpod-prometheus" in "".join(failed(steps))
    assert process(cluster) == before


def test_prometheus_3_gets_what_2_would_refuse(cluster: Cluster, pillar: Pillar) -> None:
    config, key = "/etc/superpod-prometheus/prometheus.yml", "fallback_scrape_protocol"
    count = f"grep -c {key} {config} || true"
    assert cluster.shell("head", count) == "0"
    pillar.set(prometheus={"program": "/opt/prometheus-3/bin/prometheus"})
    assert failed(apply(cluster)[0]) == []
    version = json.loads(cluster.lab.http("http://head:9090/api/v1/status/buildinfo")[1])["data"]["version"]
    assert (version.split(".")[0], cluster.shell("head", count)) == ("3", str(len(OUR_JOBS)))
    cluster.wait("it scrapes the nodes", lambda: all(cluster.up(node) for node in ("dgx-01", "dgx-02")))
    assert changed(apply(cluster)[0]) == []


def test_promtool_takes_the_sample_in_the_docs(cluster: Cluster, repository) -> None:
    text = (repository / "docs/prometheus-config-sample.yml").read_text()
    word = base64.b64encode(text.encode()).decode()
    script = f"cd $(mktemp -d); echo {word} | base64 -d > sample.yml; promtool check config sample.yml 2>&1"
    assert "SUCCESS: sample.yml is valid" in cluster.shell("head", script)
