"""The part of BCM's shell that this project's states and documents call."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from labcmd.client import ask
from labcmd.pki import PROFILES, Authority, Pair, issue_client
from labcmd.state import Mistake, State

MODES = ("device", "cert", "softwareimage", "category")
CERTIFICATE_WORDS = (
    *("key-length", "common-name", "organization", "organizational-unit", "locality", "state", "country"),
    *("profile", "sys-login", "days", "key-file", "cert-file"),
)
OVERLAY = "slurm-client"
OVERLAY_ROLES = ("slurmclient", "slurmsubmit")
KINDS = {"headnode": "HeadNode", "physicalnode": "PhysicalNode"}


class Words(argparse.ArgumentParser):
    """Arguments of one command; what is wrong with them is a mistake and not the end of the program."""

    def error(self, message: str) -> NoReturn:
        raise Mistake(f"cmsh: {self.prog}: {message}")


class Shell:
    """One session: the mode, the object in use, and changes that wait for a commit."""

    def __init__(self, state: State, write: Callable[[str], None] = print) -> None:
        self.state = state
        self.write = write
        self.mode: list[str] = []
        self.node = ""
        self.pending: list[tuple[str, str]] = []

    def run(self, text: str) -> None:
        """Run commands that are divided by semicolons or lines; brackets keep those of foreach together."""
        for command in re.findall(r"(?:\([^)]*\)|[^;\n(])+", text):
            if command.strip():
                self.execute(command.strip())

    def execute(self, command: str) -> None:
        """Run one command, which may begin with the mode that it is for."""
        verb, _, rest = command.partition(" ")
        if verb in MODES and not self.known(verb):
            if not rest.strip():
                self.mode = [verb]
                return
            self.within(verb, rest.strip())
        elif verb in ("exit", ".."):
            self.mode = self.mode[:-1]
        elif verb not in ("quit", "refresh"):
            self.call(verb, rest.strip())

    def within(self, mode: str, command: str) -> None:
        """Run one command of another mode; only `use` stays there."""
        before = self.mode
        self.mode = [mode]
        self.execute(command)
        if not command.startswith("use "):
            self.mode = before

    def known(self, verb: str) -> Callable[..., None] | None:
        """Return what a verb does in this mode, None if nothing."""
        found: Callable[..., None] | None = getattr(self, "_".join(["do", *self.mode[-1:], verb]), None)
        return found

    def call(self, verb: str, rest: str) -> None:
        """Run a verb of the mode."""
        found = self.known(verb)
        if found is None:
            raise Mistake(f"cmsh: unknown command {verb!r} in {'->'.join(self.mode) or 'the top mode'}")
        found(rest)

    def devices(self) -> list[dict[str, Any]]:
        """Return the devices that the daemon tells."""
        found: list[dict[str, Any]] = ask(self.state, "/rest/v1/device")
        return found

    def current(self) -> dict[str, Any]:
        """Return the device in use."""
        for found in self.devices():
            if found["hostname"] == self.node:
                return found
        raise Mistake("cmsh: no device is in use" if not self.node else f"cmsh: there is no device {self.node}")

    def do_device_use(self, rest: str) -> None:
        """Choose a device."""
        self.node = rest
        self.current()

    def do_device_list(self, rest: str) -> None:
        """List devices: -d DELIMITER, -f FIELD[:WIDTH],…, --type, -c CATEGORY."""
        words = Words(prog="device list")
        words.add_argument("-d", "--delimiter")
        words.add_argument("-f", "--format", default="type:16,hostname:20,category:16,ip:16")
        words.add_argument("--type", choices=KINDS)
        words.add_argument("-c", "--category")
        options = words.parse_args(shlex.split(rest))
        fields = [field.partition(":") for field in options.format.split(",")]
        rows = [["hostname (key)" if name == "hostname" else name for name, _, _ in fields]]
        for found in self.devices():
            if options.type in (None, *[k for k, v in KINDS.items() if v == found["type"]]) and (
                options.category in (None, found.get("category"))
            ):
                rows.append([text(found.get(name, "")) for name, _, _ in fields])
        for row in rows:
            self.write(line(row, options.delimiter, [width for _, _, width in fields]))

    def do_device_foreach(self, rest: str) -> None:
        """Run commands in brackets for the devices of a role (-l), a category (-c) or a list (-n)."""
        head, _, inner = rest.partition("(")
        words = Words(prog="foreach")
        chosen = words.add_mutually_exclusive_group(required=True)
        chosen.add_argument("-l", "--role")
        chosen.add_argument("-c", "--category")
        chosen.add_argument("-n", "--nodes")
        options = words.parse_args(shlex.split(head))
        before = self.node
        for found in self.devices():
            listed = (options.nodes or "").split(",")
            if (
                options.role in found["roles"]
                or options.category == found.get("category", "")
                or (found["hostname"] in listed)
            ):
                self.node = found["hostname"]
                self.run(inner.rstrip().removesuffix(")"))
        self.node = before

    def do_device_get(self, rest: str) -> None:
        """Print one value of the device in use, a list line by line."""
        found = self.current()
        if rest not in found and rest not in ("category", "roles"):
            raise Mistake(f"cmsh: no parameter {rest!r}")
        value = found.get(rest, "")
        for item in value if isinstance(value, list) else [value]:
            self.write(str(item))

    def do_device_append(self, rest: str) -> None:
        """Add roles: append roles ROLE …"""
        self.stage("+", rest)

    def do_device_removefrom(self, rest: str) -> None:
        """Take roles away: removefrom roles ROLE …"""
        self.stage("-", rest)

    def stage(self, sign: str, rest: str) -> None:
        """Keep changes of the roles until a commit."""
        what, *roles = shlex.split(rest)
        if what != "roles" or not roles:
            raise Mistake("cmsh: the stand-in changes nothing but roles")
        self.current()
        self.pending += [(self.node, sign + role) for role in roles]

    def do_device_commit(self, rest: str) -> None:
        """Make the changes count."""
        for node, change in self.pending:
            self.state.change_roles(node, [change])
        self.pending = []

    def do_device_roles(self, rest: str) -> None:
        """Enter the roles of the device in use."""
        self.current()
        self.mode = ["device", "roles"]
        if rest:
            self.execute(rest)
            self.mode = ["device"]

    def do_roles_list(self, rest: str) -> None:
        """List the roles; those that come from the overlay say so."""
        for role in self.current()["roles"]:
            self.write(f"[overlay:{OVERLAY}] {role}" if role in OVERLAY_ROLES else role)

    def do_roles_assign(self, rest: str) -> None:
        """Add a role."""
        self.stage("+", f"roles {rest}")

    def do_roles_unassign(self, rest: str) -> None:
        """Take a role away."""
        self.stage("-", f"roles {rest}")

    do_roles_commit = do_device_commit
    do_commit = do_device_commit

    def do_device_grabimage(self, rest: str) -> None:
        """Note that an image was to be grabbed from the device in use; without -w it is a dry run."""
        words = Words(prog="grabimage")
        words.add_argument("-w", "--write", action="store_true")
        words.add_argument("-i", "--image")
        options = words.parse_args(shlex.split(rest))
        name = options.image or self.images()["images"][0]
        node = self.current()["hostname"]
        if name not in self.images()["images"]:
            raise Mistake(f"cmsh: there is no software image {name}")
        if options.write:
            self.edit_images(lambda images: images["grabs"].append({"node": node, "image": name}))
        self.write(f"{node}: {'grabbed to' if options.write else 'dry run, nothing is written to'} {name}")

    def images(self) -> dict[str, Any]:
        """Return the software images and what was grabbed."""
        found: dict[str, Any] = self.state.read("images.json", {"images": [], "grabs": []})
        return found

    def edit_images(self, edit: Callable[[dict[str, Any]], None]) -> None:
        """Change the software images."""
        with self.state.locked():
            images = self.images()
            edit(images)
            self.state.write("images.json", images)

    def do_softwareimage_list(self, rest: str) -> None:
        """List the software images."""
        for name in self.images()["images"]:
            self.write(name)

    def do_softwareimage_clone(self, rest: str) -> None:
        """Clone an image: clone OLD NEW."""
        words = shlex.split(rest)
        names = self.images()["images"]
        if len(words) != 2 or words[0] not in names or words[1] in names:
            raise Mistake(f"cmsh: clone takes an image that exists and a new name; there are {', '.join(names)}")
        self.edit_images(lambda images: images["images"].append(words[1]))

    def do_softwareimage_commit(self, rest: str) -> None:
        """Nothing waits: images are kept at once."""

    def do_category_list(self, rest: str) -> None:
        """List the categories."""
        for found in ask(self.state, "/rest/v1/category"):
            self.write(found["name"])

    def do_cert_createcertificate(self, rest: str) -> None:
        """Make a client certificate with a profile."""
        words = shlex.split(rest)
        if len(words) != len(CERTIFICATE_WORDS):
            raise Mistake(f"cmsh: usage: createcertificate {' '.join(f'<{word}>' for word in CERTIFICATE_WORDS)}")
        given = dict(zip(CERTIFICATE_WORDS, words, strict=True))
        if given["profile"] not in PROFILES:
            raise Mistake(f"cmsh: there is no profile {given['profile']}; there are {', '.join(PROFILES)}")
        if not given["days"].isdigit() or given["key-length"] not in ("2048", "3072", "4096"):
            raise Mistake("cmsh: days is a number and the key length 2048, 3072 or 4096")
        issue_client(Authority(self.state.paths), given, Pair(Path(given["cert-file"]), Path(given["key-file"])))
        self.write(f"Certificate key written to file: {given['key-file']}")
        self.write(f"Certificate pem written to file: {given['cert-file']}")


def text(value: Any) -> str:
    """Return a value as a cell."""
    return ",".join(value) if isinstance(value, list) else str(value)


def line(cells: list[str], delimiter: str | None, widths: list[str]) -> str:
    """Return a row, with a delimiter or in columns."""
    if delimiter is not None:
        return delimiter.join(cells)
    return " ".join(cell.ljust(int(width or 0)) for cell, width in zip(cells, widths, strict=True)).rstrip()
