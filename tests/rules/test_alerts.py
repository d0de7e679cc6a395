"""When each alert fires, and when not, by Prometheus and by vmalert: in both metric schemas, and across restarts."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from alert_cases import Case, tried
from alert_table import CASES
from superpod_dcgm.config import resolve
from superpod_dcgm.monitoring import alerts
from superpod_dcgm.monitoring.metric_names import OURS

from tests import promtools

ROOT = Path(__file__).parents[2] / "salt/dcgm"
SOURCES = tuple(yaml.safe_load((ROOT / f"{name}.yaml").read_text()) for name in ("defaults", "schema", "compatibility"))
_EXTENDED = {"counters": "extended", "counter_rows": ["DCGM_EXP_XID_ERRORS_TOTAL, counter, XIDs."]}
SITES: dict[str, dict[str, Any]] = {
    "extended": {"exporter": _EXTENDED},
    "default": {},
    "labels": {"exporter": _EXTENDED, "job_map": {"users": False}},
    "no watcher": {"watcher": {"enabled": False}},
    "TLS": {"exporter": {"tls": {"certificate": "/etc/x.crt", "key": "/etc/x.key"}}},
    "two GPUs": {"alerts": {"thresholds": {"gpus": 2}}},
}
VMALERT = "vmalert-tool"
Groups = list[dict[str, Any]]
Named = dict[tuple[Case, int], str]
NAMED: Named = {(case, schema): case.name(schema) for case in CASES for schema in case.schemas()}


def configuration(pillar: dict[str, Any]) -> dict[str, Any]:
    return resolve.configuration(*SOURCES, pillar)


def of_alert(groups: Groups, name: str) -> Groups:
    """Return what belongs to one alert: promtool evaluates every rule for every case."""
    rules = [rule for group in groups for rule in group["rules"]]
    (alert,) = [rule for rule in rules if rule.get("alert") == name]
    read = [rule for rule in rules if "record" in rule and rule["record"] in alert["expr"]]
    # YAML with anchors is another thing than what a site gets.
    return json.loads(json.dumps([{"name": "one", "rules": [*read, alert]}]))  # type: ignore[no-any-return]


def failures(
    program: str, work: Path, cases: Named, change: Callable[[Groups], None] = lambda groups: None
) -> dict[str, str]:
    """Return the cases that fail, with what promtool says of them; ``change`` breaks the rules before."""
    files = []
    for site, pillar in SITES.items():
        groups = alerts.groups(configuration(pillar))
        for name in sorted({case.alert for case, _ in cases if case.site == site}):
            found = of_alert(groups, name)
            change(found)
            mine = [one for one in cases if (one[0].alert, one[0].site) == (name, site)]
            files.append(work / f"{site.replace(' ', '-')}-{name}.json")
            rules = files[-1].with_suffix(".rules.json")
            rules.write_text(json.dumps({"groups": found}))
            files[-1].write_text(json.dumps({"rule_files": [rules.name], "tests": of_program(program, tried(mine))}))
    return asked(program, files)


def of_program(program: str, tests: Groups) -> Groups:
    """Return groups of tests as the program takes them: vmalert has another word for promtool's."""
    if not program.endswith(VMALERT):
        return tests
    return [{"metricsql_expr_test" if key == "promql_expr_test" else key: one[key] for key in one} for one in tests]


# promtool 2 does not name the test that fails: a comment behind its expression does.
_COMMENT = re.compile(r'# (.*)", time: ')


def asked(program: str, files: list[Path]) -> dict[str, str]:
    """Return what promtool says of each case that fails, by its name."""
    command = [program, "test", "rules", *map(str, files)]
    if program.endswith(VMALERT):
        command = promtools.alone([program, "unittest", *(f"--files={file}" for file in files)])
    # vmalert-tool has its data in one place below it, which two runs cannot share.
    own = {**os.environ, "TMPDIR": str(files[0].parent)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=own)
    said, found = done.stdout + done.stderr, dict[str, str]()
    for part in re.split(r"\n(?=\s*expr: )", said)[1:]:
        name = _COMMENT.search(part)
        assert name, part
        found[name[1]] = f"{found.get(name[1], '')}{part}\n"
    assert bool(found) == bool(done.returncode), said
    return found


@pytest.fixture(scope="module", params=[*promtools.MAJORS, VMALERT])
def program(request: pytest.FixtureRequest) -> str:
    if request.param == VMALERT:
        return promtools.program(f"usr/bin/{VMALERT}")
    return promtools.promtool(request.param)


@pytest.fixture(scope="module")
def found(program: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What fails, of all cases at once: a program takes longer to start than to try one."""
    return failures(program, tmp_path_factory.mktemp("alerts"), NAMED)


@pytest.mark.parametrize("name", NAMED.values())
def test_an_alert_fires_when_it_should(name: str, found: dict[str, str]) -> None:
    assert name not in found, found[name]


def test_no_alert_fires_for_a_cluster_that_has_no_case(found: dict[str, str]) -> None:
    assert {*found} <= {*NAMED.values()}


def test_each_case_has_a_name_of_its_own() -> None:
    assert len({*NAMED.values()}) == len(NAMED)


def test_every_alert_has_cases_of_every_kind() -> None:
    words = {name: [case.words for case in CASES if case.alert == name] for name in alerts.names()}
    assert {case.alert for case in CASES} == words.keys()
    for kind in ("fires", "restart", "recovers"):
        assert [name for name, texts in words.items() if not any(kind in text for text in texts)] == []


def rules_of(groups: Groups) -> list[dict[str, Any]]:
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def longer(groups: Groups) -> None:
    for rule in rules_of(groups):
        rule["for"] = "3h"


def at_once(groups: Groups) -> None:
    for rule in rules_of(groups):
        rule.pop("for", None)


def without_host(groups: Groups) -> None:
    for rule in rules_of(groups):
        rule["expr"] = f"sum without (host, cluster) ({rule['expr']})"


def other_severity(groups: Groups) -> None:
    for rule in rules_of(groups):
        rule["labels"]["severity"] = "page"


def never(groups: Groups) -> None:
    for rule in rules_of(groups):
        rule["expr"] = f"({rule['expr']}) > 1e18"


def always(groups: Groups) -> None:
    for rule in rules_of(groups):
        rule["expr"] = f"({rule['expr']}) or vector(1)"


@pytest.mark.parametrize("program", ["2"], indirect=True)
@pytest.mark.parametrize("broken", [longer, at_once, without_host, other_severity, never, always])
def test_a_rule_that_is_broken_on_purpose_fails_in_every_alert(
    broken: Callable[[Groups], None], program: str, tmp_path: Path
) -> None:
    found = failures(program, tmp_path, few(), broken)
    whole = [rule for pillar in SITES.values() for rule in rules_of(alerts.groups(configuration(pillar)))]
    hit = [rule["alert"] for rule in whole if broken is not at_once or "for" in rule]
    assert {name.partition(" ")[0] for name in found} == {*hit}


def few() -> Named:
    """Return of each alert a case in which it fires in time, and one in which it never does."""
    found: dict[tuple[str, bool], tuple[Case, int]] = {}
    for (case, schema), name in NAMED.items():
        if any(word in name for word in ("not fire", "its time", "first event", "too old")):
            found.setdefault((case.alert, "not fire" in name), (case, schema))
    return {key: NAMED[key] for key in found.values()}


# what is replaced in every expression: (by what, alerts of which a case fails then)
UNITS = {
    " / 100 or": (" * 1 or", {"SuperpodGpuIdle", "SuperpodGpuProfilingDead"}),
    f"_UTIL_RATIO{{{OURS}}} * 1": (
        f"_UTIL_RATIO{{{OURS}}} / 100",
        {"SuperpodGpuIdle", "SuperpodGpuProfilingDead"},
    ),
    "/ 600 >=": ("/ 6000 >=", {"SuperpodNvlinkErrors"}),
    "offset 10m": ("offset 1m", {"SuperpodGpuXidMemory", "SuperpodGpuRowRemapped", "SuperpodPrologFailures"}),
    "_CELSIUS": ("_KELVIN", {"SuperpodGpuHot", "SuperpodGpuOverheated", "SuperpodGpuMemoryHot", "SuperpodGpuMissing"}),
    "cluster, host, gpu, xid": ("cluster, host, xid", {"SuperpodGpuXidReboot"}),
    "time() -": ("time() * 1000 -", {"SuperpodJobMapStale"}),
}


@pytest.mark.parametrize("program", ["2"], indirect=True)
@pytest.mark.parametrize("old", UNITS)
def test_a_unit_or_label_that_is_wrong_fails(old: str, program: str, tmp_path: Path) -> None:
    new, names = UNITS[old]

    def change(groups: Groups) -> None:
        for rule in (rule for group in groups for rule in group["rules"]):
            rule["expr"] = rule["expr"].replace(old, new)

    cases = {key: name for key, name in NAMED.items() if key[0].alert in names}
    found = failures(program, tmp_path, cases, change)
    assert {name.partition(" ")[0] for name in found} == names


@pytest.mark.parametrize("major", promtools.MAJORS)
def test_promtool_finds_nothing_to_complain_of(major: str, tmp_path: Path) -> None:
    for site, pillar in SITES.items():
        (tmp_path / f"{site}.yml").write_text(yaml.safe_dump({"groups": alerts.groups(configuration(pillar))}))
    assert promtools.check(major, *tmp_path.iterdir()) == ""
