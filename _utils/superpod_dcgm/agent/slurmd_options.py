"""What a command line of slurmd says of the configuration that is meant."""

from __future__ import annotations

from dataclasses import dataclass

# Short options of slurmd 20.11 to 26.05 that take a word, and those of them that say which configuration is meant.
_WITH_WORD = "dfLnN"
_LONG = ("conf", "conf-server")


@dataclass(frozen=True)
class Options:
    """``-f``, ``-N``, ``-Z``, ``--conf`` and ``--conf-server`` of a command line; ``""`` for what it does not have."""

    file: str = ""
    node: str = ""
    dynamic: bool = False
    conf: str = ""
    server: str = ""

    def words(self, file: str) -> list[str]:
        """
        Return the options that make slurmd mean the same node and, with ``file``, that slurm.conf.

        Never ``--conf-server``: with it slurmd would fetch its configuration anew and replace the copy in use.
        """
        named = [("-f", file), ("-N", self.node)]
        found = [word for option, value in named if value for word in (option, value)]
        found += ["-Z"] if self.dynamic else []
        return [*found, "--conf", self.conf] if self.conf else found


def parse(words: list[str]) -> Options:
    """Return what the words behind the program's name say, in all the spellings that getopt_long(3) takes."""
    found: dict[str, str] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            break
        if word.startswith("--"):
            _long(word, rest, found)
        elif word.startswith("-"):
            _short(word[1:], rest, found)
    return Options(
        found.get("f", ""), found.get("N", ""), "Z" in found, found.get("conf", ""), found.get("conf-server", "")
    )


def _long(word: str, rest: list[str], found: dict[str, str]) -> None:
    name, sign, value = word[2:].partition("=")
    # A beginning is enough where only one option begins so.
    matching = [name] if name in _LONG else [option for option in _LONG if option.startswith(name) and len(name) > 4]
    if len(matching) == 1 and (sign or rest):
        found[matching[0]] = value if sign else rest.pop(0)


def _short(letters: str, rest: list[str], found: dict[str, str]) -> None:
    while letters:
        letter, letters = letters[0], letters[1:]
        if letter in _WITH_WORD:
            value = letters or (rest.pop(0) if rest else "")
            found[letter] = value
            return
        if letter == "F":
            # Its word is optional, and then stands in the same word.
            return
        found[letter] = "yes"
