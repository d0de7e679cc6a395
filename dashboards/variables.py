"""The variables of dashboards: data source, cluster, node, GPU, job, who."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as d
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as m

from dashboards.queries import IN_CLUSTER, own

DATASOURCE = common.DataSourceRef(type_val="prometheus", uid="${datasource}")
Variable = d.QueryVariable | d.DatasourceVariable | d.TextBoxVariable | d.CustomVariable
_NO_CHOICE = m.VariableOption(text="All", value="$__all")


def datasource() -> Variable:
    """Which Prometheus."""
    return d.DatasourceVariable("datasource").label("Data source").type("prometheus")


def _asked(name: str, label: str, query: str) -> d.QueryVariable:
    refresh, sort = m.VariableRefresh.ON_TIME_RANGE_CHANGED, m.VariableSort.NATURAL_ASC
    found = d.QueryVariable(name).label(label).datasource(DATASOURCE).query(query)
    return found.refresh(refresh).sort(sort)


def one(name: str, label: str, metric: str) -> Variable:
    """One value of a label that a metric has."""
    return _asked(name, label, f"label_values({metric}, {name})")


def several(name: str, label: str, metric: str) -> d.QueryVariable:
    """Any values of a label that a metric has; all at first."""
    found = _asked(name, label, f"label_values({metric}, {name})").multi(True).include_all(True)
    # The names of 2,000 nodes would make an expression of 20,000 characters.
    return found.all_value(".*").current(_NO_CHOICE)


_UP = own("up", "")


def cluster() -> Variable:
    """One cluster, for what has a meaning in one only."""
    return one("cluster", "Cluster", _UP)


def clusters() -> Variable:
    """Any clusters."""
    # What has no cluster is not ours.
    return several("cluster", "Cluster", _UP).all_value(".+")


def host() -> Variable:
    """One node, also one that does not answer."""
    return one("host", "Node", own("up", IN_CLUSTER))


def gpu() -> Variable:
    """GPUs of a node."""
    return several("gpu", "GPU", 'gpu:power_watts:max{cluster="$cluster",host="$host"}')


def job() -> Variable:
    """A job's id: typed, and empty at first, since all jobs together would be no answer."""
    empty = m.VariableOption(text="", value="")
    return d.TextBoxVariable("job").label("Job id").default_value("").current(empty).options([empty])


def owner(name: str, label: str, above: str = "") -> Variable:
    """Users, accounts or partitions of jobs."""
    return several(name, label, f'{name}:gpus_allocated:sum{{cluster=~"$cluster"{above}}}')


def hosts_of_job() -> Variable:
    """Nodes of the job; the first one at first, since a job may have hundreds."""
    metric = 'gpu_job:gpus_allocated:split{cluster="$cluster",hpc_job="$job"}'
    return _asked("hosts", "Its nodes", f"label_values({metric}, host)").multi(True)


def choice(name: str, label: str, values: tuple[str, ...]) -> Variable:
    """Any of some words; all at first."""
    found = d.CustomVariable(name).label(label).values(",".join(values)).multi(True).include_all(True)
    return found.all_value(".*").current(_NO_CHOICE)
