"""Whether a node has what a release of the exporter needs: asked before anything of it is changed."""

from __future__ import annotations

from typing import Any

from superpod_dcgm.base import maintenance, paths, state, systemd
from superpod_dcgm.base import roles as node_roles
from superpod_dcgm.exporter import gate, preflight, rows

# Given by Salt's loader.
__opts__: dict[str, Any]


def passed(
    name: str,
    release: str,
    roles: dict[str, Any],
    url: str,
    libdcgm: str,
    nvml: bool = False,
    dcgm: str = "",
    engine: str = "",
    engine_units: list[str] | None = None,
    validates: bool = True,
) -> dict[str, Any]:
    """
    Check that a release of the exporter can run on this node, and note what its page shows before anything is changed.

    Where the node's roles do not want the exporter, or its GPUs are free for maintenance, nothing is looked at.

    :param name: the unit.
    :param release: the release that is to run.
    :param roles: the section ``roles`` of the configuration.
    :param url: address of the exporter's ``/metrics``.
    :param libdcgm: DCGM's library that the release opens.
    :param nvml: whether it asks NVML at every start.
    :param dcgm: version of DCGM that it was made for; an older one is a warning.
    :param engine: address of the host engine that it is to ask; empty for one of its own.
    :param engine_units: units of host engines that may be installed.
    :param validates: whether the exporter itself looks for the libraries when it starts.

    .. code-block:: yaml

        Check that this node can run dcgm-exporter 4.5.3-4.8.2:
          dcgm_preflight.passed:
            - name: dcgm-exporter.service
            - release: 4.5.3-4.8.2
            - roles: {source: bcm, run_on: [slurmclient]}
            - url: http://127.0.0.1:9400/metrics
            - libdcgm: libdcgm.so.4
    """
    try:
        up = systemd.is_up(systemd.show(name))
        decision = node_roles.decide(roles, node_roles.names_in(node_roles.read(paths.ROLES_FILE)))
        if maintenance.held() or decision == "stopped" or (decision == "unknown" and not up):
            return state.result(name, True, "The exporter is not to run here now: nothing is looked at")
        known = preflight.libraries() if validates else None
        found = preflight.lacks(release, libdcgm, nvml, known, engine, engine_units or [])
        if found:
            return state.result(name, False, f"Nothing of the exporter is changed on this node. {'. '.join(found)}.")
        if up and not __opts__["test"]:
            gate.note(rows.look(url))
    except (systemd.UnitError, OSError) as exc:
        return state.result(name, False, f"It cannot be found out whether this node can run {release}: {exc}")
    old = preflight.older(release, libdcgm, dcgm, known or {})
    ret = state.result(name, True, f"This node has what dcgm-exporter {release} needs")
    return {**ret, "warnings": [old]} if old else ret
