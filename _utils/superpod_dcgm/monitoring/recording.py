"""
Recording rules: what each GPU, job, user, account, partition, node and cluster used, in both metric schemas.

docs/rules.md says what each one means. Rows with ``hpc_job`` repeat what the GPU says for each job: they tell who holds
a GPU, nothing else. Amounts are of the minute before (``increase1m``): the sum over time of one is its total.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from superpod_dcgm.monitoring import metric_names

# Seconds between two evaluations, on which the amounts rest.
INTERVAL = 60
# A board, and what jobs hold: a GPU, or an instance of one in MIG mode.
BOARD = "cluster, host, gpu"
DEVICE = f"{BOARD}, GPU_I_ID"
# Compute slices of a GPU that can be divided, but for those of workstations.
SLICES = 7
# Joules that no GPU uses between two samples, however many were lost: what is more is no use, but another counter.
_MOST_JOULES = 1_000_000
_WHOLE = 'GPU_I_ID=""'
# Upper bounds by which GPUs are counted for heat maps, as they stand in the label `le`.
UTILIZATIONS = ("0.01", *(f"0.{tenth}" for tenth in range(1, 10)), "1")
TEMPERATURES = ("30", "40", "50", "60", "65", "70", "75", "80", "85", "90", "+Inf")

Rule = dict[str, str]


@dataclass(frozen=True)
class Settings:
    """
    What the rules depend on.

    ``owners`` is where it is known from who holds a GPU. ``info``: slurm_gpu_job_info. ``label``: hpc_job, without
    users. Empty: nowhere, and there are no rules of jobs. ``idle_ratio`` is the utilization below which a GPU is idle.
    A board is idle below ``idle_watts``, or where its limit is known below ``idle_limit_ratio`` of that.
    """

    owners: str = "info"
    idle_ratio: float = 0.01
    idle_watts: float = 100
    idle_limit_ratio: float = 0.2

    @property
    def owner(self) -> str:
        """The labels that tell whose a job is."""
        return "user, account, partition" if self.owners == "info" else ""

    @property
    def job(self) -> str:
        """The labels of a job; its id alone comes round on every cluster."""
        return ", ".join(filter(None, ["cluster, hpc_job", self.owner]))


def groups(settings: Settings) -> list[dict[str, Any]]:
    """Return the recording rules as they stand in a rule file: one group, so that all see the same moment."""
    jobs = bool(settings.owners)
    rules = _gpus(settings)
    if jobs:
        rules += [*_held(settings), *_jobs(settings)]
        for level in ("user", "account", "partition"):
            rules += _sums(level, f"cluster, {level}") if level in settings.owner else []
    rules += [*_nodes(jobs), *_clusters(jobs), *_spread()]
    return [{"name": "superpod-dcgm-recording", "interval": f"{INTERVAL}s", "rules": rules}]


def _rule(record: str, expression: str) -> Rule:
    return {"record": record, "expr": expression}


def _most(key: str, by: str, matchers: str = "", modifier: str = "") -> str:
    # Each schema's rows by themselves: to bring all to one unit first takes twice the time.
    return metric_names.promql(key, matchers=matchers, form=f"max by ({by}) ({{}}{modifier})")


def _gpus(settings: Settings) -> list[Rule]:
    used, free, reserved = (_most(f"memory_{kind}", DEVICE) for kind in ("used", "free", "reserved"))
    now, before = _most("energy", BOARD), _most("energy", BOARD, modifier=" offset 1m")
    # Not increase(): servers disagree on what it is. A counter that fell was reset, and one that leapt is another's.
    measured = f"({now} - {before} >= 0) < {_MOST_JOULES}"
    return [
        _rule("gpu:power_watts:max", _most("power", BOARD)),
        _rule("gpu:temperature_celsius:max", _most("gpu_temperature", BOARD)),
        _rule("gpu:utilization_ratio:max", _utilization(settings)),
        _rule("gpu:memory_used_bytes:max", used),
        _rule(
            "gpu:memory_capacity_bytes:max",
            f"{_most('memory_capacity', DEVICE)}\nor {used} + {free} + ({reserved} or {used} * 0)",
        ),
        _rule("gpu:energy_joules:increase1m", f"{measured}\nor {_most('power', BOARD)} * {INTERVAL}"),
        _rule("gpu:gpus:split", _parts(_rows("memory_used"), DEVICE)),
    ]


def _utilization(settings: Settings) -> str:
    """
    Return the utilization of GPUs and instances: by profiling where that is alive.

    Profiling that died reads 0. So a 0 counts only if GPU_UTIL says so, too. Instances have none: there it counts if
    another instance of the GPU is seen to work, or the board takes as little power as an idle one.
    """
    profiling, power = _most("prof_engine", DEVICE), "gpu:power_watts:max"
    limit = f"({_most('power_limit', BOARD)} * {settings.idle_limit_ratio:g} or {power} * 0 + {settings.idle_watts:g})"
    whole = _most("gpu_utilization", DEVICE, matchers=_WHOLE)
    sibling = _most("prof_engine", BOARD, matchers='GPU_I_ID!=""')
    return f"({profiling} > 0)\nor {whole}\nor ({profiling} and on ({BOARD}) ({sibling} > 0 or {power} < {limit}))"


def _rows(key: str, matchers: str = "") -> Callable[[str], list[str]]:
    return lambda more: [*metric_names.selectors(key, matchers=",".join(filter(None, [matchers, more]))).values()]


def _info(matchers: str) -> list[str]:
    return [f"slurm_gpu_job_info{{{matchers}}}" if matchers else "slurm_gpu_job_info"]


def _group(by: str, rows: list[str], then: str = "") -> str:
    return "\nor ".join(f"group by ({by}) ({one}){then}" for one in rows)


def _parts(rows: Callable[[str], list[str]], by: str) -> str:
    """
    Return how much of a GPU each row stands for: 1, or an instance's share of the compute slices.

    :param rows: returns the rows that have the given matchers. A profile that is not read counts as one slice.
    """
    profiles = {slices: f"{slices}g[.].*" for slices in (1, 2, 3, 4, SLICES)}
    others = "|".join(profiles.values())
    other = f'GPU_I_ID!="",GPU_I_PROFILE!~"{others}"'
    found = {_WHOLE: "", other: f" / {SLICES}"}
    found |= {f'GPU_I_ID!="",GPU_I_PROFILE=~"{text}"': f" * {slices} / {SLICES}" for slices, text in profiles.items()}
    return "\nor ".join(_group(by, rows(matchers), part) for matchers, part in found.items())


def _held(settings: Settings) -> list[Rule]:
    """Return the rules of what each job holds of each GPU: equal parts where several share one."""
    rows = _rows("memory_used", 'hpc_job!=""') if settings.owners == "label" else _info
    key = f"{DEVICE}, hpc_job"
    # One owner of each job, should two writers disagree: the joins would fail.
    labels = ", ".join(filter(None, [key, settings.owner]))
    jobs = f"on ({DEVICE}) group_left () count by ({DEVICE}) ({_group(key, rows(''))})"
    here, memory = "gpu_job:gpus_allocated:split", "gpu:memory_used_bytes:max"
    return [
        _rule(here, f"topk by ({key}) (1,\n{_parts(rows, labels)}\n)\n/ {jobs}"),
        _rule(
            "gpu_job:memory_used_bytes:split",
            # Of the record, so that the owner is the same one.
            f"group by ({labels}) ({here})\n/ {jobs}\n* on ({DEVICE}) group_left () {memory}",
        ),
        # What a GPU says when a job begins is of the one before.
        _rule(
            "gpu_job:gpus_measured:split",
            f"({here} and on ({key}) {here} offset 1m)\nand on ({DEVICE}) gpu:utilization_ratio:max",
        ),
        _rule(
            "gpu_job:gpus_idle:split",
            f"gpu_job:gpus_measured:split\nand on ({DEVICE}) gpu:utilization_ratio:max < {settings.idle_ratio:g}",
        ),
        _rule(
            "gpu_job:gpus_used:split",
            f"gpu_job:gpus_measured:split * on ({DEVICE}) group_left () gpu:utilization_ratio:max",
        ),
    ]


def _of_boards(by: str, record: str) -> str:
    return f"sum by ({by}) (gpu_job:gpus_allocated:split * on ({BOARD}) group_left () {record})"


def _hours(level: str, by: str, default: str) -> list[Rule]:
    """Return the rules of GPU hours; what is 0 without ``default`` has no row."""
    per_hour = 3600 // INTERVAL
    return [
        _rule(f"{level}:gpu_hours_allocated:increase1m", f"{level}:gpus_allocated:sum / {per_hour}"),
        *(
            _rule(
                f"{level}:gpu_hours_{kind}:increase1m",
                f"sum by ({by}) (gpu_job:gpus_{kind}:split) / {per_hour}\nor {default} * 0",
            )
            for kind in ("measured", "used", "idle")
        ),
    ]


def _jobs(settings: Settings) -> list[Rule]:
    job, allocated = settings.job, "job:gpus_allocated:sum"
    return [
        _rule(allocated, f"sum by ({job}) (gpu_job:gpus_allocated:split)"),
        _rule("job:memory_used_bytes:sum", f"sum by ({job}) (gpu_job:memory_used_bytes:split)"),
        _rule("job:power_watts:sum", _of_boards(job, "gpu:power_watts:max")),
        _rule("job:energy_joules:increase1m", _of_boards(job, "gpu:energy_joules:increase1m")),
        *_hours("job", job, allocated),
        _mean("job"),
    ]


def _mean(level: str) -> Rule:
    hours = f"{level}:gpu_hours_used:increase1m / ({level}:gpu_hours_measured:increase1m > 0)"
    return _rule(f"{level}:utilization_ratio:avg", hours)


AMOUNTS = (
    *("gpus_allocated:sum", "memory_used_bytes:sum", "power_watts:sum", "energy_joules:increase1m"),
    *(f"gpu_hours_{kind}:increase1m" for kind in ("allocated", "measured", "used", "idle")),
)


def _sums(level: str, by: str) -> list[Rule]:
    """Return the rules of a level of which everything is a sum of jobs."""
    found = [_rule(f"{level}:{amount}", f"sum by ({by}) (job:{amount})") for amount in AMOUNTS]
    return [*found, _mean(level)]


def _nodes(jobs: bool) -> list[Rule]:
    """Return the rules of nodes: of all their GPUs, those of jobs among them."""
    by, count = "cluster, host", "node:gpus:count"
    return [
        _rule(count, f"count by ({by}) (group by ({BOARD}) (gpu:memory_used_bytes:max))"),
        _rule("node:memory_used_bytes:sum", f"sum by ({by}) (gpu:memory_used_bytes:max)"),
        _rule("node:memory_capacity_bytes:sum", f"sum by ({by}) (gpu:memory_capacity_bytes:max)"),
        _rule("node:power_watts:sum", f"sum by ({by}) (gpu:power_watts:max)"),
        _rule("node:energy_joules:increase1m", f"sum by ({by}) (gpu:energy_joules:increase1m)"),
        _rule("node:utilization_ratio:avg", _mean_of_all(by)),
        *(_jobs_of_nodes(by, count) if jobs else []),
    ]


def _mean_of_all(by: str) -> str:
    weighted = f"gpu:utilization_ratio:max * on ({DEVICE}) gpu:gpus:split"
    return f"sum by ({by}) ({weighted})\n/ sum by ({by}) (gpu:gpus:split and on ({DEVICE}) gpu:utilization_ratio:max)"


def _jobs_of_nodes(by: str, count: str) -> list[Rule]:
    total, held = "node:energy_joules:increase1m", _of_boards(by, "gpu:energy_joules:increase1m")
    return [
        _rule("node:gpus_allocated:sum", f"sum by ({by}) (gpu_job:gpus_allocated:split)\nor {count} * 0"),
        _rule("node:energy_joules_unallocated:increase1m", f"{total} - ({held} or {total} * 0)"),
        *_hours("node", by, "node:gpus_allocated:sum"),
    ]


def _clusters(jobs: bool) -> list[Rule]:
    names = [rule["record"].partition(":")[2] for rule in _nodes(jobs)]
    found = [_rule(f"cluster:{name}", f"sum by (cluster) (node:{name})") for name in names if not name.endswith(":avg")]
    return [*found, _rule("cluster:utilization_ratio:avg", _mean_of_all("cluster"))]


def _spread() -> list[Rule]:
    """Return the rules of how GPUs differ: the hottest of each node, and how many are how hot and how busy."""
    heat = "gpu:temperature_celsius:max"
    return [
        _rule("node:temperature_celsius:max", f"max by (cluster, host) ({heat})"),
        _rule("cluster:gpu_temperature_celsius:bucket", _buckets(heat, TEMPERATURES)),
        _rule("cluster:gpu_utilization_ratio:bucket", _buckets("gpu:utilization_ratio:max", UTILIZATIONS)),
    ]


def _buckets(record: str, bounds: tuple[str, ...]) -> str:
    """Return how many have at most each bound, as the buckets of a histogram have it."""
    return "\nor ".join(
        f'label_replace(sum by (cluster) ({record} <= bool {bound}), "le", "{bound}", "", "")' for bound in bounds
    )
