"""
Make docs/pillar.md, the reference of the pillar's keys, and pillar/example.sls, a pillar with every key,
from salt/dcgm/defaults.yaml and salt/dcgm/schema.yaml.

    python3 docs/make_pillar.py

A test fails when one of them is older than its sources. It needs PyYAML, which requirements.txt brings.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = REPOSITORY / "docs/pillar.md"
EXAMPLE = REPOSITORY / "pillar/example.sls"
DEFAULTS = REPOSITORY / "salt/dcgm/defaults.yaml"
SCHEMA = REPOSITORY / "salt/dcgm/schema.yaml"
sys.path.insert(0, str(REPOSITORY / "_utils"))

from superpod_dcgm.config import schema as validator  # noqa: E402

INTRODUCTION = """\
# Pillar reference

<!-- Made by docs/make_pillar.py from salt/dcgm/defaults.yaml and salt/dcgm/schema.yaml. Change those. -->

Every key stands below `dcgm:`. Only what differs from the default has to be in the pillar:

```yaml
dcgm:
  cluster: superpod
  hosts: {nodes: 'dgx-*', head: bcm-01, monitoring: bcm-01}
  exporter: {port: 9500}
```

A key that is unknown, or a value that is not allowed, stops rendering with one sentence per error, before anything is
changed. `salt-run dcgm.check` on the head tells before that. Lists replace the default; mappings are merged into it.
"""


EXAMPLE_HEAD = """\
# Every key of the pillar `dcgm` with its default. Made by docs/make_pillar.py: copy from it what your site needs.
dcgm:
"""


class Key(NamedTuple):
    """A key of the defaults: its path below `dcgm`, the comment above it, and its value."""

    path: tuple[str, ...]
    comment: str
    default: Any


def keys(text: str) -> Iterator[Key]:
    """Yield every key of the defaults, sections before what is in them."""
    yield from _keys(yaml.compose(text), yaml.safe_load(text), text.splitlines(), ())


def _keys(node: yaml.MappingNode, value: dict[str, Any], lines: list[str], path: tuple[str, ...]) -> Iterator[Key]:
    for key_node, value_node in node.value:
        here = (*path, key_node.value)
        yield Key(here, _comment(lines, key_node.start_mark.line), value[key_node.value])
        if isinstance(value_node, yaml.MappingNode):
            yield from _keys(value_node, value[key_node.value], lines, here)


def _comment(lines: list[str], line: int) -> str:
    first = line
    while first > 0 and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    return " ".join(text.strip().removeprefix("#").strip() for text in lines[first:line])


def rule(schema: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any] | None:
    """Return the schema of a key, or None for a key that a mapping of free names has by default."""
    found = schema
    for name in path:
        found = validator.resolved(found, schema).get("properties", {}).get(name)
        if found is None:
            return None
    return validator.resolved(found, schema)


def _row(key: Key, schema: dict[str, Any], found: dict[str, Any]) -> str:
    name = ":".join(key.path)
    default = json.dumps(key.default, ensure_ascii=False) if key.default != "" else "empty"
    meaning = key.comment or ("Whether this component is deployed." if key.path[-1] == "enabled" else "")
    cells = (f"`{name}`", f"`{default}`", validator.allowed(found, schema), meaning.replace("<", "&lt;"))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def page(defaults: str, schema_text: str) -> str:
    """Return the text of the page."""
    schema = yaml.safe_load(schema_text)
    parts = [INTRODUCTION]
    for key in keys(defaults):
        found = rule(schema, key.path)
        if found is None:
            continue
        is_group = bool(found.get("properties")) and bool(key.default)
        if len(key.path) == 1:
            parts.append(f"\n## {key.path[0]}\n\n{'' if not is_group else key.comment + chr(10) * 2}")
            parts.append("| Key | Default | Allowed | Meaning |\n|---|---|---|---|\n")
        if not is_group:
            parts.append(_row(key, schema, found) + "\n")
    return "".join(parts)


def example(defaults: str) -> str:
    """Return a pillar with every key: the defaults below `dcgm:`, with their comments."""
    lines = defaults.splitlines()[2:]
    return EXAMPLE_HEAD + "".join(f"  {line}\n" if line else "\n" for line in lines)


def main() -> None:
    """Write both files."""
    PAGE.write_text(page(DEFAULTS.read_text(), SCHEMA.read_text()))
    EXAMPLE.write_text(example(DEFAULTS.read_text()))
    for path in (PAGE, EXAMPLE):
        print(f"{path.relative_to(REPOSITORY)} is written")


if __name__ == "__main__":
    main()
