"""Links between dashboards: with time range, data source and what was clicked on."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as d
from grafana_foundation_sdk.models import dashboard as m

TAG = "superpod-dcgm"
CLUSTER, NODE, JOB, USERS, HEALTH, FLEET = (
    f"superpod-{name}" for name in ("cluster", "node", "job", "users", "health", "fleet")
)
_ALWAYS = "var-datasource=${datasource}&${__url_time_range}"


def to_all() -> d.DashboardLink:
    """Return the links to the other dashboards above the panels."""
    kind = m.DashboardLinkType.DASHBOARDS
    link = d.DashboardLink("SuperPOD dashboards").type(kind).tags([TAG]).include_vars(True).keep_time(True)
    # Without a placement: some servers hide the default one in a menu.
    return link.placement(None)  # type: ignore[arg-type]


def url(uid: str, **variables: str) -> str:
    """Return a link to a dashboard; ``variables`` are its variables, and from where their values are."""
    return f"/d/{uid}?" + "&".join([*(f"var-{name}={value}" for name, value in variables.items()), _ALWAYS])


def of_cell(name: str) -> str:
    """Return what stands for another cell of the same row of a table."""
    return f'${{__data.fields["{name}"]}}'


def of_label(name: str) -> str:
    """Return what stands for a label of a line."""
    return f"${{__field.labels.{name}}}"


TO_CLUSTER = ("Cluster", url(CLUSTER, cluster=of_cell("cluster")))
TO_NODE = ("Node", url(NODE, cluster=of_cell("cluster"), host=of_cell("host")))
TO_JOB = ("Job", url(JOB, cluster=of_cell("cluster"), job=of_cell("hpc_job")))
TO_USER = ("User", url(USERS, cluster=of_cell("cluster"), user=of_cell("user")))
TO_ACCOUNT = ("Account", url(USERS, cluster=of_cell("cluster"), account=of_cell("account")))
TO_PARTITION = ("Partition", url(USERS, cluster=of_cell("cluster"), partition=of_cell("partition")))
LINE_TO_NODE = ("Node", url(NODE, cluster=of_label("cluster"), host=of_label("host")))
# Where a cell of this name leads to.
OF_COLUMNS = {
    **{"cluster": TO_CLUSTER, "host": TO_NODE, "hpc_job": TO_JOB},
    **{"user": TO_USER, "account": TO_ACCOUNT, "partition": TO_PARTITION},
}
