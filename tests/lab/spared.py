"""Whether Slurm kept its nodes: none drained or down, and no slurmd that ended by itself."""

from __future__ import annotations

from superpod.lab import Lab
from superpod.lab.layout import HEAD

# A test that ends slurmd by itself says so with this, once for each time.
MEANT = "logger -t superpod-test slurmd-ends"
# What slurmctld decides by itself; what a test orders (`scontrol update`) is logged otherwise.
_CONTROLLER = (
    r"grep -hE 'drain_nodes:|draining the node|, setting DOWN|state to INVAL' /var/log/slurm/slurmctld.log || true"
)
_SLURMD = "journalctl --no-pager --quiet --output=cat"


def losses(lab: Lab) -> list[str]:
    """Return what happened to the nodes of a running lab since it was made, in the words of slurmctld and systemd."""
    if HEAD not in lab.machines or not lab.machine(HEAD).pid:
        return []
    found = lab.exec(HEAD, ["sh", "-c", _CONTROLLER]).stdout.splitlines()
    for node in lab.nodes:
        failed = f"{_SLURMD} --unit=slurmd | grep -F 'Failed with result' || true"
        meant = f"{_SLURMD} --identifier=superpod-test | grep -c slurmd-ends || true"
        ends = lab.exec(node, ["sh", "-c", failed]).stdout.splitlines()
        known = int(lab.exec(node, ["sh", "-c", meant]).stdout or 0)
        found += [f"{node}: {line}" for line in ends] if len(ends) > known else []
    return found
