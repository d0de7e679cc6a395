"""Every template renders with the context that its state gives it, and no switch leaves a gap in the text."""

from __future__ import annotations

import pytest
import yaml
from rendering import FILE_ROOT, MACHINES, MONITORED, UBUNTU, unresolved

TEMPLATES = {path.relative_to(FILE_ROOT).as_posix() for path in FILE_ROOT.glob("dcgm/**/files/**/*.jinja")}


@pytest.mark.parametrize("machine", MACHINES)
def test_every_template_renders_and_belongs_to_a_state(applied, machine) -> None:
    _, texts = applied(machine)
    assert TEMPLATES - texts.keys() == set()
    for name, text in texts.items():
        assert text.endswith("\n"), name
        assert not {"{{", "{%", "None", "Undefined"} & set(text.split()), name


@pytest.mark.parametrize(("engine", "user"), [("remote", "User=dcgm-exporter"), ("embedded", "User=root")])
def test_the_unit_follows_the_engine(compiler, engine, user) -> None:
    unit = "dcgm/exporter/files/dcgm-exporter.service.jinja"
    with compiler(UBUNTU, {"dcgm": {"exporter": {"engine": engine}}}) as compile_states:
        texts = compile_states.templates(compile_states.low("dcgm.exporter.config"))
    lines = texts[unit].splitlines()
    assert user in lines
    (after,) = [line.split() for line in lines if line.startswith("After=")]
    assert {"nvidia-persistenced.service", "nvidia-dcgm.service"} <= set(after)
    # From 4.8.0 on a reload loses the profiling metrics until the next start.
    assert [line for line in lines if line.startswith("ExecReload")] == []


def test_prometheus_gets_its_configuration_as_yaml_that_promtool_checks(compiler) -> None:
    more = {"job_name": "other: one", "static_configs": [{"targets": ["a:1"], "labels": {"text": 'a "b" {{ c }}'}}]}
    with compiler(UBUNTU, {"dcgm": {**MONITORED["dcgm"], "prometheus": {"scrape_configs": [more]}}}) as compile_states:
        chunks = compile_states.low("dcgm.prometheus.config")
    step = next(chunk for chunk in chunks if chunk["__id__"] == "Write the configuration of Prometheus")
    first, own, third = yaml.safe_load(step["contents"])["scrape_configs"]
    assert (first["job_name"], own["job_name"], third) == ("superpod-dcgm-exporter", "superpod-dcgm", more)
    folders = [scrape["file_sd_configs"][0]["files"][0] for scrape in (first, own)]
    assert folders == [
        f"/cm/shared/apps/dcgm-exporter/prometheus-targets/{path}" for path in ("*.json", "superpod-dcgm/*.json")
    ]
    assert (step["state"], step["promtool"]) == ("dcgm_prometheus_files", "/usr/bin/promtool")
    assert step["group"] == "superpod-prometheus"


PROMETHEUS_UNIT = "dcgm/prometheus/files/superpod-prometheus.service.jinja"
WEB = {"user": "p", "hash": f"$2y$05${'a' * 53}", "password_file": "/p"}


@pytest.mark.parametrize(
    ("prometheus", "options"),
    [
        ({}, {"--storage.tsdb.retention.time=30d"}),
        ({"retention": "1y", "retention_size": "200GB"}, {"--storage.tsdb.retention.size=200GB"}),
        ({"web": WEB}, {"--web.config.file=/etc/superpod-prometheus/web.yml"}),
    ],
)
def test_the_unit_of_prometheus_has_the_options_of_the_pillar_and_never_gives_up(compiler, prometheus, options) -> None:
    with compiler(UBUNTU, {"dcgm": {**MONITORED["dcgm"], "prometheus": prometheus}}) as compile_states:
        texts = compile_states.templates(compile_states.low("dcgm.prometheus.config"))
    lines = texts[PROMETHEUS_UNIT].splitlines()
    (start,) = [set(line.split()[1:]) for line in lines if line.startswith("ExecStart=")]
    assert options < start
    chosen = {option for option in start if "retention.size" in option or "web.config" in option}
    assert chosen <= options
    # An exit code of 1 is a failure; a limit of starts would leave it down.
    assert {"Restart=on-failure", "StartLimitIntervalSec=0", "ExecReload=/bin/kill -HUP $MAINPID"} <= set(lines)


@pytest.mark.parametrize("exporter", [{}, {"basic_auth": WEB}, {"web_config": "/etc/site.yml"}])
def test_a_change_of_the_web_configuration_restarts_the_exporter_with_it(compiler, exporter) -> None:
    pillar = {"dcgm": {"exporter": {"engine": "remote", **exporter}}}
    with compiler(UBUNTU, pillar) as compile_states:
        chunks = compile_states.low("dcgm.exporter")
    (web,) = [chunk for chunk in chunks if (chunk["state"], chunk["fun"]) == ("dcgm_web", "configured")]
    (service,) = [chunk for chunk in chunks if chunk["fun"] == "follows_roles"]
    path = exporter.get("web_config") or ("/etc/dcgm-exporter/web-config.yml" if exporter else "")
    assert service["files"] == ([path] if path else [])
    assert bool(web["contents"]) == ("basic_auth" in exporter)
    assert web["user"] == "dcgm-exporter"
    assert {"dcgm_web": web["__id__"]} in service["watch"]


def test_the_shared_slurm_scripts_outlive_the_removal(compiler) -> None:
    with compiler(UBUNTU, {}) as compile_states:
        applied = [chunk["sls"] for chunk in compile_states.low("dcgm.orch.remove") if "sls" in chunk]
    assert sorted(applied) == ["dcgm.clean", "dcgm.grafana.clean", "dcgm.prometheus.clean", "dcgm.watcher.clean"]


def test_a_password_of_the_exporters_is_not_sent_to_our_own_metrics(compiler) -> None:
    secret = {"scheme": "https", "user": "prometheus", "password_file": "/etc/prometheus/password"}
    with compiler(UBUNTU, {"dcgm": {**MONITORED["dcgm"], "prometheus": secret}}) as compile_states:
        chunks = compile_states.low("dcgm.prometheus.config")
    step = next(chunk for chunk in chunks if chunk["__id__"] == "Write the configuration of Prometheus")
    first, own = yaml.safe_load(step["contents"])["scrape_configs"]
    assert "basic_auth" in first and not {"basic_auth", "scheme"} & own.keys()


def test_no_unit_that_asks_the_driver_loses_its_device_files(applied) -> None:
    """Before systemd 252 ProtectClock made DevicePolicy an allow list (systemd/systemd#18142)."""
    _, texts = applied("Ubuntu 22.04")
    for name in ("dcgm-devices", "dcgm-job-map", "dcgm-exporter"):
        (text,) = [text for path, text in texts.items() if path.endswith(f"/{name}.service.jinja")]
        settings = [line.partition("=")[0] for line in text.splitlines()]
        assert not {"ProtectClock", "PrivateDevices", "DeviceAllow", "DevicePolicy"} & set(settings), name


def test_systemd_reads_every_unit_that_a_state_writes(applied) -> None:
    """Salt has it read a unit again only when it restarts just that unit."""
    steps, _ = applied("Ubuntu 22.04")
    units = [step for step in steps["dcgm"] if step["name"].startswith("/etc/systemd/") and step["fun"] == "managed"]
    assert len(units) == 5
    for unit in units:
        name, wanted = unit["name"].rpartition("/")[2], {"file": unit["__id__"]}
        restarted = [
            step
            for step in steps["dcgm"]
            if wanted in step.get("watch", []) and name in (step["name"], step.get("runs"))
        ]
        read = [step["name"] for step in steps["dcgm"] if wanted in step.get("onchanges", [])]
        assert restarted or read in (["systemctl daemon-reload"], [f"systemctl --quiet reenable {name}"]), name


FORMER = {
    "prolog_link": "/etc/slurm/prolog.d/60-prolog-dcgm.sh",
    "epilog_link": "/etc/slurm/epilog.d/60-epilog-dcgm.sh",
    "textfile": "/var/lib/node_exporter",
    "directory": "/run/other-dcgm-map",
}


@pytest.fixture
def another_pillar_before(tmp_path, monkeypatch):
    settings = tmp_path / "job-map.conf"
    settings.write_text("".join(f"{key}={value}\n" for key, value in FORMER.items()))
    monkeypatch.setattr("superpod_dcgm.base.paths.JOB_MAP_CONFIG", str(settings))


def test_clean_removes_the_links_that_were_made_whatever_the_pillar_says_now(compiler, another_pillar_before) -> None:
    """A link to a script that is gone makes every job drain its node."""
    with compiler(UBUNTU, {}) as compile_states:
        chunks = compile_states.low("dcgm.agent.clean")
    unlinked = {chunk["name"] for chunk in chunks if chunk["fun"] == "unlinked"}
    assert {FORMER["prolog_link"], FORMER["epilog_link"]} < unlinked and len(unlinked) == 4
    absent = {chunk["name"] for chunk in chunks if (chunk["state"], chunk["fun"]) == ("file", "absent")}
    assert {FORMER["directory"], f"{FORMER['textfile']}/superpod-dcgm.prom"} <= absent


@pytest.mark.parametrize("sls", ["dcgm.slurm", "dcgm.agent.devices", "dcgm.agent.service", "dcgm.slurm.reconcile"])
def test_whatever_rewrites_the_settings_first_deals_with_what_they_named(compiler, another_pillar_before, sls) -> None:
    with compiler(UBUNTU, {}) as compile_states:
        chunks = compile_states.low(sls)
    assert unresolved(chunks) == []
    links = {FORMER["prolog_link"], FORMER["epilog_link"]}
    assert {chunk["name"] for chunk in chunks if chunk["fun"] == "unlinked"} == links
    (moved,) = [chunk for chunk in chunks if chunk["fun"] == "moved"]
    assert (moved["former"], moved["name"]) == (FORMER["directory"], "/run/dcgm-job-map")


def test_metrics_that_are_switched_off_are_not_served_any_more(compiler) -> None:
    with compiler(UBUNTU, {"dcgm": {"metrics": {"enabled": False}}}) as compile_states:
        names = {chunk["fun"] for chunk in compile_states.low("dcgm") if chunk["name"] == "dcgm-textfile.service"}
    assert names == {"stopped"}


@pytest.mark.parametrize("scripts", ["local", "shared"])
def test_no_link_is_made_without_knowing_what_is_shared(compiler, scripts) -> None:
    with compiler(UBUNTU, {"dcgm": {"slurm": {"scripts": scripts, "shared_places": ["/sched"]}}}) as compile_states:
        chunks = compile_states.low("dcgm.slurm", "dcgm.slurm.clean")
    linked = [chunk for chunk in chunks if chunk["fun"] == "linked"]
    assert [chunk["name"].split("-")[1] for chunk in linked] == ["epilog", "prolog"]
    for chunk in [*linked, *(chunk for chunk in chunks if chunk["fun"] in ("unlinked", "removed"))]:
        assert chunk["storage"]["places"] == ["/sched"]
        assert "/cm/shared/apps/dcgm-exporter/artifacts" in chunk["storage"]["stores"]
    assert {chunk["local"] for chunk in linked} == {scripts == "local"}
    own = {f"/usr/local/libexec/superpod-dcgm/{kind}-dcgm.sh" for kind in ("prolog", "epilog")}
    assert ({chunk["target"] for chunk in linked} == own) is (scripts == "local")
    # Whatever failed before: the last look is at what is left.
    alive = [chunk for chunk in chunks if chunk["fun"] == "alive"]
    assert len(alive) == 2 and not any("require" in chunk for chunk in alive)
    assert min(chunk["order"] for chunk in alive) > max(chunk["order"] for chunk in linked)


def test_the_head_removes_shared_links_before_the_scripts(compiler) -> None:
    with compiler(UBUNTU, {"dcgm": {"slurm": {"layout": "plain"}}}) as compile_states:
        chunks = compile_states.low("dcgm.slurm.shared_clean")
    removed = [chunk for chunk in chunks if chunk["fun"] == "removed"]
    unlinked = [chunk for chunk in chunks if chunk["fun"] == "unlinked"]
    assert [chunk["everywhere"] for chunk in unlinked] == [True, True]
    assert {chunk["name"] for chunk in unlinked} == {f"/etc/slurm/{k}.d/60-{k}-dcgm.sh" for k in ("prolog", "epilog")}
    wanted = {"Remove the shared prolog link", "Remove the shared epilog link"}
    assert len(removed) == 2
    for chunk in removed:
        assert {requisite["job_map"] for requisite in chunk["require"]} == wanted
