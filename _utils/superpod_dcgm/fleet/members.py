"""Which minions are nodes, and what each node is called: no name is given to two, and nobody is a node by accident."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import salt.utils.minions
from salt.exceptions import SaltException

from superpod_dcgm.base.names import same, short
from superpod_dcgm.fleet import matching, minions
from superpod_dcgm.watcher import device_list
from superpod_dcgm.watcher.snapshot import read_snapshot

# Seconds for the question whether a match means a minion.
_QUESTION = 5
# Seconds after which minions with keys of one node are asked again.
_RIVALS = 300


@dataclass
class Members:
    """
    The minions that a match means.

    ``nodes``: minion ids by node. ``rivals``: accepted ids that mean one node, by node; it is among the nodes only if
    exactly one of them answers. ``unconfirmed``: minions that may be matched and did not say so yet, which makes them
    no nodes. ``unusable``: matched ids that cannot be a node's name.
    """

    nodes: dict[str, str] = field(default_factory=dict)
    rivals: dict[str, list[str]] = field(default_factory=dict)
    unconfirmed: list[str] = field(default_factory=list)
    unusable: list[str] = field(default_factory=list)

    @property
    def problems(self) -> dict[str, str]:
        """What is wrong with nodes, in sentences, by node."""
        return {name: self._dispute(name, ids) for name, ids in self.rivals.items()}

    def _dispute(self, name: str, ids: list[str]) -> str:
        told = f"the accepted keys {' and '.join(ids)} are of one node"
        if name in self.nodes:
            gone = " ".join(f"`salt-key -d {other}`" for other in ids if other != self.nodes[name])
            return f"{told}; only {self.nodes[name]} answers and is served: remove the other with {gone}"
        return (
            f"{told}, and it is not told which is right: it is not served; remove the wrong one with `salt-key -d ID`"
        )

    @property
    def uncertain(self) -> set[str]:
        """Nodes of which nothing is removed: it is not known whether, or as which minion, they are nodes."""
        return {*self.rivals, *(short(minion) for minion in self.unconfirmed), *map(str.lower, self.unconfirmed)}

    @property
    def remarks(self) -> list[str]:
        """What is wrong with minions that are no nodes, in sentences."""
        found = []
        if self.unconfirmed:
            shown = ", ".join(self.unconfirmed[:3]) + ", ..." * (len(self.unconfirmed) > 3)
            found.append(
                f"{len(self.unconfirmed)} accepted minions may be nodes by hosts:nodes and did not say so yet: {shown}"
            )
        if self.unusable:
            found.append(f"minion ids that cannot be a node's name: {', '.join(map(device_list.shown, self.unusable))}")
        return found

    def renamed(self, others: Members) -> Members:
        """Return these with the names that other members have: what a node is called may depend on who is beside it."""
        names = {minion: name for name, minion in others.nodes.items()}
        nodes = {names.get(minion, name): minion for name, minion in self.nodes.items()}
        return Members(nodes, self.rivals, self.unconfirmed, self.unusable)

    def name_of(self, minion: str) -> str:
        """Return the node that a minion id or a name in any form means."""
        known = next((name for name, member in self.nodes.items() if member == minion), None)
        return known or (minion.lower() if minion.lower() in self.nodes else short(minion))


def listed(nodes: Any) -> list[str]:
    """Return the names of a list, or of a text with commas; Salt's command line makes a number of what looks so."""
    words = nodes if isinstance(nodes, (list, tuple, set)) else str(nodes).split(",")
    return [word for word in (str(one).strip() for one in words) if word]


def find(
    opts: dict[str, Any], match: str, watcher_settings: dict[str, Any], ask: matching.Ask | None = None
) -> Members:
    """
    Return the accepted minions that a match means, whether they are up or not.

    Where the match needs what the master does not know of a minion, the minion is asked, and its word is remembered.

    :param opts: the master's options.
    :param match: a compound match; an empty one means nobody.
    :param ask: asks minions whether the match means them.
    """
    if not match:
        return Members()
    asked, memory = ask or question(opts["conf_file"]), matching.Memory(matching.file(watcher_settings["snapshot"]))
    sure, open_to, text = matching.settled(opts, match)
    words, now = (memory.ask(text, open_to, asked) if open_to else {}), time.time()
    matched = sure | {name for name, word in words.items() if matching.counts(word, now)}
    found = Members(unconfirmed=sorted(name for name in open_to if words[name]["said"] is None))
    for name, ids in _named(opts, matched, _known(watcher_settings), found).items():
        if len(ids) == 1:
            found.nodes[name] = ids[0]
            continue
        found.rivals[name] = ids
        heard = memory.ask(text, ids, asked, f"{text}: {name}", _RIVALS)
        up = [one for one in ids if matching.answered(heard[one])]
        found.nodes.update({name: up[0]} if len(up) == 1 else {})
    return found


def question(conf_file: str) -> matching.Ask:
    """Return how minions are asked: each matches for itself, as when Salt targets it."""

    def ask(ids: Collection[str], match: str) -> dict[str, bool]:
        try:
            with minions.client(conf_file, _QUESTION) as run:
                returns = run(sorted(ids), "match.compound", (match,), {})
        except (SaltException, OSError):
            return {}
        return {name: one["ret"] for name, one in returns.items() if isinstance(one["ret"], bool)}

    return ask


def _known(watcher_settings: Mapping[str, Any]) -> set[str]:
    """Return the names by which the source of roles calls the devices."""
    if watcher_settings["roles"]["source"] == "none":
        return set()
    return set(read_snapshot(watcher_settings["snapshot"])["nodes"])


def _named(
    opts: dict[str, Any], matched: Iterable[str], devices: Collection[str], found: Members
) -> dict[str, list[str]]:
    """Return the ids by node; those that cannot be a name are noted in ``found``."""
    usable: list[str] = []
    for minion in sorted(matched):
        (usable if device_list.is_host_name(minion) else found.unusable).append(minion)
    by_label: dict[str, list[str]] = {}
    for minion in usable:
        by_label.setdefault(short(minion), []).append(minion)
    names: dict[str, list[str]] = {}
    for minion in usable:
        names.setdefault(_name(opts, minion, by_label[short(minion)], devices), []).append(minion)
    return names


def _name(opts: dict[str, Any], minion: str, alike: list[str], devices: Collection[str]) -> str:
    """
    Return what a minion's node is called: as the source of roles calls it, else by its first label.

    :param alike: the minions with the same first label.
    :param devices: names of the devices.
    """
    full, label, *others = minion.lower(), *minion.lower().split(".")
    if known := [name for name in (full, label) if name in devices]:
        return known[0]
    if devices:
        # Where nobody knows its host name, one of the other labels may be it.
        host = _host(opts, minion)
        if known := [name for name in ([host] if host else others) if name in devices]:
            return known[0]
    # dgx-01 and dgx-01.cluster are one node; prod.dgx-01 and prod.dgx-02 are two.
    return label if all(same(minion, other) for other in alike) else full


def _host(opts: dict[str, Any], minion: str) -> str:
    """Return the host name that the master's cache has of a minion whose id says nothing, or an empty text."""
    if not opts.get("minion_data_cache"):
        return ""
    cache = salt.utils.minions.CkMinions(opts).cache
    grains = cache.fetch("grains", minion) if cache.contains("grains", minion) else None
    if not isinstance(grains, dict):
        old = cache.fetch(f"minions/{minion}", "data") if cache.contains(f"minions/{minion}", "data") else None
        grains = old.get("grains") if isinstance(old, dict) else None
    return short(str((grains or {}).get("host") or ""))
