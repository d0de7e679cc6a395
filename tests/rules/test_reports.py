"""Reports and hand calculations agree, in both metric schemas, on Prometheus 2 and 3 and on VictoriaMetrics."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import report_bench as bench
import report_cases as cases
import rule_cases
from click.testing import CliRunner
from superpod_dcgm.monitoring import recording

from superpod.cli import main
from superpod.errors import SuperpodError
from superpod.reports.live import Place
from superpod.reports.prometheus import Client
from superpod.reports.prometheus import Server as Address

MIB = 1048576
SERVERS = {"prometheus 2, both": ("2", "both"), "prometheus 3, schema 1": ("3", "schema 1")}
SERVERS |= {"prometheus 3, schema 2": ("3", "schema 2"), "victoria-metrics, both": ("vm", "both")}
MINUTES = 50
Ask = Callable[..., Any]


@pytest.fixture(scope="module", params=SERVERS.values(), ids=SERVERS.keys())
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, float]]:
    """The address of a server that has all cases, and when they began."""
    kind, schema = request.param
    begin = time.time() // 60 * 60 - 2 * 3600
    raw = bench.raw(cases.series(schema), begin)
    rules = [rule for group in recording.groups(recording.Settings()) for rule in group["rules"]]
    maker = bench.Server("3" if kind == "vm" else kind, tmp_path_factory.mktemp("prometheus"))
    with maker.running():
        maker.write(raw)
        records = maker.record(rules, begin + bench.AFTER, MINUTES)
        if kind != "vm":
            yield maker.address, begin
            return
    with bench.Server("vm", tmp_path_factory.mktemp("victoria-metrics")).running() as copy:
        copy.write(raw | records)
        yield copy.address, begin


@pytest.fixture
def ask(server: tuple[str, float]) -> Ask:
    """Return a function that runs a command against the server, without Slurm."""

    def run(line: str, code: int = 0) -> str:
        words = [*line.split(), "--prometheus", server[0], *(["--no-slurm"] if line.startswith("job") else [])]
        result = CliRunner().invoke(main, words, env={"COLUMNS": "80", "SUPERPOD_CONFIG": "/dev/null"})
        assert result.exit_code == code, result.output
        return result.stdout if code in (0, 3) and result.stdout else result.stderr

    return run


@pytest.fixture
def job(ask: Ask) -> Ask:
    return lambda line, code=0: json.loads(ask(f"job {line} --json", code))


def near(found: float | None, minutes: float, gpus: float = 1) -> bool:
    """Return whether hours are these minutes, but for one of each GPU."""
    return found is not None and abs(found * 60 - minutes) <= gpus + 1e-6


def test_a_job_that_uses_two_of_four_gpus(job: Ask, server: tuple[str, float]) -> None:
    found = job("4711")
    assert (found["user"], found["account"], found["partitions"], found["cluster"]) == (
        *("alice", "physics"),
        *(["batch"], "a"),
    )
    assert found["gpus"] == {"held": 4, "at_once": 4, "slurm": None, "never_used": 2}
    hours = found["gpu_hours"]
    assert near(hours["held"], 120, 4) and near(hours["measured"], 120, 4)
    assert near(hours["used"], 30 * 1.4, 1.4) and near(hours["idle"], 60, 2)
    assert found["utilization_ratio"] == {"mean": pytest.approx(0.35), "peak": pytest.approx(0.35)}
    assert found["energy_joules"] == pytest.approx(1280 * 1800, abs=1280 * 60)
    assert found["power_watts"]["mean"] == pytest.approx(1280) and found["power_watts"]["peak"] == pytest.approx(1280)
    assert found["memory_bytes"]["peak"] == pytest.approx(91024 * MIB)
    assert found["begin"] == pytest.approx(server[1] + 300, abs=60) and found["seconds"] == pytest.approx(1800, abs=60)
    assert (found["coverage"], found["complete"], found["running"]) == (pytest.approx(1), True, False)


def test_each_of_its_gpus(job: Ask) -> None:
    found = {one["gpu"]: one for one in job("4711")["devices"]}
    means = {gpu: one["utilization_ratio"] for gpu, one in found.items()}
    assert means == {
        gpu: {"mean": pytest.approx(use), "peak": pytest.approx(use)}
        for gpu, use in {"0": 0.9, "1": 0.5, "2": 0, "3": 0}.items()
    }
    assert [one["never_used"] for one in found.values()] == [False, False, True, True]
    assert [one["power_watts"] for one in found.values()] == pytest.approx([600, 500, 90, 90], rel=0.03)
    assert found["0"]["memory_peak_bytes"] == pytest.approx(60000 * MIB)
    assert found["0"]["memory_capacity_bytes"] == pytest.approx(81920 * MIB)
    assert [one["tensor_ratio"] for one in found.values()] == pytest.approx([0.02, 0.02, 0, 0])
    assert [one["dram_ratio"] for one in found.values()] == pytest.approx([0.85, 0.85, 0, 0])


def test_its_hints_have_their_rules(job: Ask) -> None:
    hints = {one["text"]: one["rule"] for one in job("4711")["hints"]}
    assert "rules:idle_utilization" in hints["2 of 4 GPUs were never used: n31 GPU 2, n31 GPU 3."]
    assert "PROF_DRAM_ACTIVE" in hints["Tensor cores were 2 % busy and memory 85 %: memory-bound."]


def test_xids_are_those_of_its_time_and_its_gpus(job: Ask) -> None:
    found = {number: [(one["xid"], one["gpu"], one["count"]) for one in job(number)["xids"]] for number in XIDS}
    assert found == XIDS
    assert job("4711")["without_xids"] == [] and job("4730")["without_xids"] == ["n35"]


XIDS = {
    "4711": [("62", "", 1), ("94", "1", 2)],
    "4720": [("13", "0", None)],
    "4740": [("79", "0", 1)],
    "4750": [("43", "0", 2)],
}


def test_two_jobs_on_a_gpu_have_together_what_it_has(job: Ask) -> None:
    first, second = job("401"), job("402")
    assert near(first["gpu_hours"]["held"], 25) and near(second["gpu_hours"]["held"], 5, 0.5)
    assert near(second["gpu_hours"]["used"], 5 * 0.6, 0.5) and second["gpus"]["at_once"] == 0.5
    assert first["energy_joules"] == pytest.approx(300 * 1500, abs=300 * 60)
    assert second["energy_joules"] == pytest.approx(150 * 600, abs=150 * 60)
    assert second["memory_bytes"]["peak"] == pytest.approx(10000 * MIB)
    assert second["devices"][0]["memory_capacity_bytes"] == pytest.approx(40960 * MIB)
    assert (first["coverage"], second["coverage"]) == (pytest.approx(1), pytest.approx(1))


def test_two_jobs_on_an_instance_have_half_of_its_part(job: Ask) -> None:
    for number in ("502", "503"):
        found = job(number)
        assert near(found["gpu_hours"]["held"], 30 / 7, 1 / 7) and found["utilization_ratio"]["mean"] == pytest.approx(
            0.5
        )
        assert found["energy_joules"] == pytest.approx(350 / 7 * 1800, abs=350 / 7 * 60)
        (device,) = found["devices"]
        assert (device["gpu"], device["instance"], device["share"]) == ("0", "5", pytest.approx(1 / 7))
        assert device["power_watts"] == pytest.approx(50)
        assert device["memory_peak_bytes"] == pytest.approx(5000 * MIB)
        assert device["memory_capacity_bytes"] == pytest.approx(10240 * MIB)


def test_a_requeued_job_has_two_tries_and_no_idle_time_between(job: Ask, server: tuple[str, float]) -> None:
    found = job("4720")
    assert [(one["hosts"], round((one["begin"] - server[1]) / 60)) for one in found["tries"]] == [
        (["n32"], 5),
        (["n33"], 25),
    ]
    assert near(found["gpu_hours"]["held"], 40, 3) and found["gpu_hours"]["idle"] == 0
    assert found["seconds"] == pytest.approx(25 * 60, abs=120)
    assert found["utilization_ratio"]["mean"] == pytest.approx((9 * 0.4 + 28 * 0.8) / 37)
    assert found["coverage"] == pytest.approx(1)
    assert [one["utilization_ratio"]["mean"] for one in found["devices"]] == pytest.approx([0.4, 0.8, 0.8])


def test_waits_of_less_than_three_minutes_are_none_of_the_jobs_time(job: Ask) -> None:
    found = job("4760")
    assert [round(one["end"] - one["begin"], -1) for one in found["tries"]] == pytest.approx([240] * 3, abs=60)
    assert near(found["gpu_hours"]["held"], 12, 1) and near(found["gpu_hours"]["measured"], 9, 1)
    assert found["coverage"] == pytest.approx(1) and found["seconds"] == pytest.approx(720, abs=180)


def test_an_id_that_came_round_means_its_newest_job(job: Ask, ask: Ask, server: tuple[str, float]) -> None:
    newest = job("4730")
    assert (newest["user"], newest["account"]) == ("paul", "art") and near(newest["gpu_hours"]["held"], 15)
    assert "used more than once" in newest["notes"][0] and "olga" not in json.dumps(newest)
    older = job(f"4730 --at {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(server[1] + 450))}")
    assert older["user"] == "olga" and near(older["gpu_hours"]["held"], 5)
    never = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(server[1] + 1200))
    assert "did not run at" in ask(f"job 4730 --at {never}", 3)


def test_profiling_that_dies_accuses_nobody(job: Ask, server: tuple[str, float]) -> None:
    found = job("4740")
    (device,) = found["devices"]
    assert device["never_used"] is False and device["profiling_dead_since"] == pytest.approx(server[1] + 735, abs=330)
    assert any("dead since" in one["text"] for one in found["hints"])
    assert found["utilization_ratio"]["mean"] == pytest.approx((7 * 0.9 + 22 * 0.96) / 29, abs=0.005)


def test_the_longest_time_without_use(job: Ask, server: tuple[str, float]) -> None:
    found = job("4750")["longest_idle"]
    assert found["seconds"] == pytest.approx(900, abs=60) and found["begin"] == pytest.approx(server[1] + 600, abs=60)
    assert job("4711")["longest_idle"]["seconds"] == pytest.approx(1800, abs=60)


@pytest.mark.parametrize("number", ["901", "902"])
def test_ten_minutes_without_an_answer_are_unknown_and_not_idle(number: str, job: Ask) -> None:
    found = job(number, 3)
    assert found["coverage"] == pytest.approx(19 / 29, abs=0.05) and not found["complete"]
    assert len(found["tries"]) == 1
    assert (found["gpu_hours"]["idle"], found["gpus"]["never_used"], found["longest_idle"]) == (None, None, None)
    assert any("Nothing is known of" in note for note in found["notes"])
    assert not [one for one in found["hints"] if "used" in one["text"]]


def test_an_instance_of_which_nothing_tells_the_use_is_not_called_idle(job: Ask, ask: Ask) -> None:
    found = job("601", 3)
    assert (found["coverage"], found["utilization_ratio"]["mean"], found["gpus"]["never_used"]) == (0, None, None)
    assert found["devices"][0]["never_used"] is None and found["hints"] == []
    assert "Utilization  \u2013" in ask("job 601", 3)


def test_the_same_id_in_two_clusters_is_a_question(job: Ask, ask: Ask) -> None:
    assert "clusters a (alice, " in ask("job 101", 2)
    assert job("101 --cluster b")["user"] == "zoe"
    assert near(job("101 --cluster a")["gpu_hours"]["held"], 60, 2)


def test_a_job_that_is_not_known_is_no_idle_job(ask: Ask) -> None:
    assert "There is no data of job 999" in ask("job 999", 3)


def test_a_job_as_text_has_80_columns_and_no_colours(ask: Ask) -> None:
    for number in ("4711", "4720", "902", "502"):
        text = ask(f"job {number}", 3 if number == "902" else 0)
        assert max(map(len, text.splitlines())) <= 80 and "\x1b" not in text
    assert "held · never used: 2" in ask("job 4711")
    assert "2 held at once, 3 in all tries" in ask("job 4720")


def test_a_page_of_a_job_has_its_numbers(ask: Ask, tmp_path: Path) -> None:
    ask(f"job 4711 --html {tmp_path}/job.html")
    page = (tmp_path / "job.html").read_text()
    assert "2 of 4 GPUs were never used" in page and "n31 GPU 3: 0 %" in page and page.count('<svg role="img"') == 5


def rows(ask: Ask, line: str) -> dict[str, dict[str, Any]]:
    found = json.loads(ask(f"report --since 3h --json {line}", 3))
    return {"/".join(filter(None, map(str, list(one.values())[:3]))): one for one in found["rows"]}


def test_users_have_what_their_jobs_held_and_used(ask: Ask) -> None:
    found = {one["user"]: one for one in json.loads(ask("report --since 3h --json --cluster a", 3))["rows"]}
    alice, grace, dave = (found[name] for name in ("alice", "grace", "dave"))
    assert near(alice["gpu_hours_held"], 180, 6) and near(alice["gpu_hours_idle"], 90, 3) and alice["jobs"] == 2
    assert near(alice["gpu_hours_used"], 24 + 42, 2.4) and alice["coverage"] == pytest.approx(1)
    assert alice["energy_joules"] == pytest.approx((490 + 1280) * 1800, abs=(490 + 1280) * 60)
    # Of one of three GPUs nothing is known.
    assert grace["gpu_hours_idle"] is None and grace["coverage"] == pytest.approx(2 / 3)
    assert near(grace["gpu_hours_measured"], 60, 2)
    assert near(dave["gpu_hours_held"], 30 * 4 / 7, 1)


def test_the_first_minute_of_each_try_and_only_that_can_be_known_of_nobody(ask: Ask, server: tuple[str, float]) -> None:
    def tess(line: str) -> dict[str, Any]:
        found = json.loads(ask(f"report --json {line}", 3))
        rows: list[dict[str, Any]] = [one for one in found["rows"] if one.get("user", "tess") == "tess"]
        return rows[0]

    for line in ("", "--user tess", "--by account --account bio"):
        found = tess(f"--since 3h {line}")
        assert near(found["gpu_hours_held"], 12, 1) and near(found["gpu_hours_measured"], 9, 1)
        assert found["coverage"] == pytest.approx(1) and found["gpu_hours_idle"] == 0
    # Alone of those that began within the time is the first minute lost.
    since, until = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(server[1] + second)) for second in (427, 1027))
    within = tess(f"--since {since} --until {until}")
    assert near(within["gpu_hours_held"], 6, 1) and within["coverage"] == pytest.approx(1)
    ivan = json.loads(ask(f"report --json --since {since} --until {until} --user ivan --by user", 3))["rows"][0]
    assert 0.7 < ivan["coverage"] < 0.95
    assert ivan["coverage"] == pytest.approx(ivan["gpu_hours_measured"] / ivan["gpu_hours_held"])


MORE = {"alice": 120, "nina": 40, "olga": 5, "quin": 30, "rosa": 30}


def test_accounts_partitions_and_clusters_add_up(ask: Ask) -> None:
    def held(line: str, name: str, label: str) -> float:
        found = json.loads(ask(f"report --since 3h --json --cluster a {line}", 3))
        return next(one for one in found["rows"] if one.get(label) == name)["gpu_hours_held"]

    physics = rule_cases.PHYSICS + sum(MORE.values())
    assert near(held("--by account", "physics", "account"), physics, 12)
    assert near(held("--by partition", "batch", "partition"), physics + 15 + 12, 12)
    assert near(held("--by cluster", "a", "cluster"), physics + 15 + 12 + 5, 12)
    assert near(held("--by user --account art", "paul", "user"), 15)
    assert near(held("--by account --partition debug --user carol", "chemistry", "account"), 5, 0.5)


def test_jobs_of_a_user(ask: Ask) -> None:
    found = json.loads(ask("report --since 3h --json --user alice", 3))
    assert {one["job"]: one["cluster"] for one in found["rows"]} == {"4711": "a", "101": "a"}
    assert found["by"] == "job" and near(found["rows"][0]["gpu_hours_held"], 120, 4)


def test_the_same_as_csv(ask: Ask) -> None:
    found = {one["user"]: one for one in csv.DictReader(io.StringIO(ask("report --since 3h --csv --cluster a", 3)))}
    assert near(float(found["alice"]["gpu_hours_idle"]), 90, 3) and found["grace"]["gpu_hours_idle"] == ""


def test_a_report_as_text_has_80_columns_and_says_what_is_missing(ask: Ask, tmp_path: Path) -> None:
    text = ask(f"report --since 3h --html {tmp_path}/report.html", 3)
    assert max(map(len, text.splitlines())) <= 80 and "\x1b" not in text
    assert "are recorded; of the rest nothing is known" in text
    assert "alice" in (tmp_path / "report.html").read_text()


def test_a_user_who_held_nothing_is_told_so(ask: Ask) -> None:
    assert "No job of user nobody held a GPU" in ask("report --since 3h --user nobody", 3)


def test_the_live_view_has_idle_jobs_first(server: tuple[str, float]) -> None:
    address, begin = server
    place = Place(Client(Address(address)), "a")
    lines = list(place.lines(begin + 1240, 600, (80, 40)))
    assert lines[1].startswith("  a: 22.6 of 31 GPUs held, 5.14 of them idle")
    first = next(line for line in lines if line.startswith("  4711"))
    assert first.split() == ["4711", "alice", "batch", "4", "2", "35", "%", "88.9", "GiB", "1.28", "kW"]
    assert lines.index(first) == 4 and max(map(len, lines)) <= 81


def test_the_live_view_of_a_node_and_of_an_instance(server: tuple[str, float]) -> None:
    address, begin = server
    client = Client(Address(address))
    node = list(Place(client, "a", "n31").lines(begin + 1240, 600, (80, 40)))
    assert [line.split()[:2] for line in node[2:]] == [[str(gpu), "4711"] for gpu in range(4)]
    gpu = list(Place(client, "a", "n3", "0.5").lines(begin + 1240, 600, (80, 40)))
    assert "n3 GPU 0 instance 5" in gpu[0] and gpu[1] == "  Jobs now: 502, 503"
    assert "50 % now; 50 % least, 50 % mean, 50 % most" in gpu[4]


def test_a_node_of_two_clusters_is_a_question(server: tuple[str, float]) -> None:
    address, begin = server
    with pytest.raises(SuperpodError, match="The clusters a and b have a node n1: choose one"):
        Place(Client(Address(address)), "", "n1").lines(begin + 1240, 600, (80, 40))
    assert "n1, " in next(Place(Client(Address(address)), "b", "n1").lines(begin + 1240, 600, (80, 40)))


@pytest.fixture(scope="module")
def without_users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server whose rules know jobs by the label of the exporter's rows only."""
    begin = time.time() // 60 * 60 - 2 * 3600
    raw = bench.raw(cases.series("both"), begin)
    known = {labels: samples for labels, samples in raw.items() if ("__name__", "slurm_gpu_job_info") not in labels}
    with bench.Server("3", tmp_path_factory.mktemp("prometheus")).running() as server:
        server.write(known)
        rules = recording.groups(recording.Settings(owners="label"))[0]["rules"]
        server.record(rules, begin + bench.AFTER, MINUTES)
        yield server.address


def test_without_users_there_are_jobs(without_users: str) -> None:
    def run(line: str) -> Any:
        return CliRunner().invoke(
            main, [*line.split(), "--prometheus", without_users], env={"SUPERPOD_CONFIG": "/dev/null"}
        )

    found = json.loads(run("job 4711 --json --no-slurm").stdout)
    assert found["user"] is None and found["gpus"]["never_used"] == 2 and near(found["gpu_hours"]["held"], 120, 4)
    assert len(json.loads(run("job 4720 --json --no-slurm").stdout)["tries"]) == 2
    jobs = json.loads(run("report --since 3h --by job --json").stdout)["rows"]
    assert jobs[0]["job"] == "4711" and jobs[0]["user"] == ""
    answer = run("report --since 3h")
    assert answer.exit_code == 3 and "Users are not recorded here (job_map:users); --by job" in answer.stderr
