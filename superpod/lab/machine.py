"""One machine of the lab: its disk, its network, its power button."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from superpod.errors import SuperpodError
from superpod.lab import cgroups, layers, site
from superpod.lab.holder import Holder
from superpod.lab.layout import CHECKOUT, GO_CACHE, GO_MODULES, HEAD, addresses_of, go_cache, go_proxy, offer_go_cache

# With --keep-unit a reboot from inside ends systemd-nspawn with 133. The network namespace is named both ways because
# with the option alone /sys/class/net would show the holder's links.
BOOT = """
echo $$ > "/sys/fs/cgroup/m-$1/cgroup.procs"
name=$1; console=$2; shift 2
exec < /dev/null >> "$console" 2>&1
while :; do
    nsenter "--net=/run/netns/$name" systemd-nspawn "$@"
    [ $? -eq 133 ] || exit
done
"""
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "SHELL": "/bin/bash",
}
STOP_SIGNAL = signal.SIGRTMIN + 4


class Machine:
    """A machine by name; its state is read from the kernel each time it is asked for."""

    def __init__(self, name: str, holder: Holder, image: Path, bare: bool = False) -> None:
        self.name = name
        self.holder = holder
        self.image = image
        self.bare = bare
        self.layout = holder.layout
        self.disk = self.layout.disk(name)
        self.group = holder.group / f"m-{name}"

    @property
    def pid(self) -> int | None:
        """The machine's systemd as the host numbers it, or None when the machine is off."""
        found = cgroups.members(self.group / "payload/init.scope")
        return found[0] if found else None

    def start(self, nodes: int) -> None:
        """Switch the machine on; its disk is made if this is the first time."""
        self.kill()
        self._make_network()
        if not (self.disk / "upper").is_dir():
            site.make_site(self.layout, self.name, nodes, self.image, self.bare)
            site.make_upper(self.layout, self.name, nodes, self.image)
        self._mount()
        self._boot()

    def _make_network(self) -> None:
        if f"{self.name}\n" in self.holder.run(["ls", "-1", "/run/netns"]):
            return
        link = f"v-{self.name}"
        commands = [
            f"ip netns add {self.name}",
            f"ip link add {link} type veth peer name eth0 netns {self.name}",
            f"ip link set {link} master br0 up",
            f"ip -n {self.name} link set lo up",
            *(f"ip -n {self.name} address add {address}/24 dev eth0" for address in addresses_of(self.name)),
            f"ip -n {self.name} link set eth0 up",
        ]
        self.holder.run(["bash", "-c", " && ".join(commands)])

    def _mounted(self) -> bool:
        return str(self.disk / "root") in self.holder.run(["cat", "/proc/self/mounts"]).split()

    def _mount(self) -> None:
        if self._mounted():
            return
        where = f"lowerdir={self.disk}/site:{self.image},upperdir={self.disk}/upper,workdir={self.disk}/work"
        self.holder.run(["mount", "-n", "-t", "overlay", "overlay", "-o", where, f"{self.disk}/root"])

    def _nspawn(self) -> list[str]:
        binds = [f"--bind={self.layout.shared}:/cm/shared"]
        if self.name == HEAD:
            binds.append(f"--bind-ro={CHECKOUT}:/srv/superpod-dcgm-exporter")
        else:
            binds += [f"--bind={go_cache()}:{GO_CACHE}", f"--bind-ro={go_proxy()}:{GO_MODULES}"]
        options = (
            f"-q -b -M {self.name} --hostname {self.name} --register=no --keep-unit --link-journal=no "
            f"--resolv-conf=off --timezone=off --console=read-only --network-namespace-path=/run/netns/{self.name}"
        )
        return ["-D", str(self.disk / "root"), *options.split(), *binds]

    def _boot(self) -> None:
        self.group.mkdir()
        offer_go_cache()
        go_proxy().mkdir(parents=True, exist_ok=True)
        script = 'setsid bash -c "$BOOT" boot "$@" & disown'
        environment = [f"BOOT={BOOT}", "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1"]
        arguments = [self.name, str(self.layout.console(self.name)), *self._nspawn()]
        self.holder.run(["env", *environment, "bash", "-c", script, "start", *arguments])

    def wait_booted(self, timeout: float = 60) -> str:
        """Wait until systemd has finished starting; its word on the result (`running`, `degraded` …)."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.pid is not None:
                done = self.exec(["systemctl", "is-system-running", "--wait"], timeout=timeout)
                if done.stdout.strip() not in ("", "offline", "unknown"):
                    return done.stdout.strip()
            time.sleep(0.1)
        raise SuperpodError(
            f"{self.name} did not come up within {timeout:.0f} s; what it said: {self.layout.console(self.name)}"
        )

    def command(self, argv: Sequence[str], environment: Mapping[str, str] | None = None) -> list[str]:
        """Command line for the host that runs argv as root inside the machine with a clean environment."""
        if self.pid is None:
            raise SuperpodError(f"{self.name} is switched off; start it with: ./setup.sh lab")
        given = [f"{key}={value}" for key, value in {**ENVIRONMENT, **(environment or {})}.items()]
        inside = ["/usr/bin/env", "-i", "-C", "/", *given, *argv]
        return self.holder.enter(inside, self.pid, ("-m", "-u", "-i", "-n", "-p", "-C"))

    def exec(
        self, argv: Sequence[str], timeout: float = 600, text_input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside the machine."""
        given = {"stdin": subprocess.DEVNULL} if text_input is None else {"input": text_input}
        command = self.command(argv)
        return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=timeout, **given)

    def kill(self) -> None:
        """Cut the power; systemd-nspawn since 256 refuses to start where a killed one left its mount."""
        cgroups.kill(self.group)
        export = f"/run/systemd/nspawn/unix-export/{self.name}"
        self.holder.run(["bash", "-c", 'while mountpoint -q "$0"; do umount -n -l "$0"; done', export])

    def stop(self, timeout: float = 30) -> None:
        """Shut down in order; after the timeout the power is cut."""
        if self.pid is not None:
            os.kill(self.pid, STOP_SIGNAL)
            with contextlib.suppress(SuperpodError):
                cgroups.wait_empty(self.group, timeout)
        self.kill()

    def provision(self, nodes: int) -> None:
        """Make the disk of a stopped machine the image again, but for what BCM's exclude lists keep."""
        if self._mounted():
            self.holder.run(["umount", "-n", str(self.disk / "root")])
        site.make_site(self.layout, self.name, nodes, self.image, self.bare)
        layers.wipe(self.disk / "upper", [self.disk / "site", self.image])
