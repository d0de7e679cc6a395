"""
A small JSON Schema validator for minions, where the library jsonschema is not at hand.

It reads the keywords that salt/dcgm/schema.yaml uses and answers with one sentence per error. A test
compares its verdicts with those of jsonschema.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list, tuple),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}
_WORDS = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
}


def errors(value: Any, schema: dict[str, Any], root: str) -> list[str]:
    """
    Return one sentence per error in ``value``; an empty list when it is valid.

    :param root: what the sentences call the value, such as ``dcgm``.
    """
    return list(_check(value, schema, root, schema))


def allowed(schema: dict[str, Any], document: dict[str, Any]) -> str:
    """Return in words what a rule of ``document`` allows."""
    return _allowed(resolved(schema, document))


def _check(value: Any, schema: dict[str, Any], key: str, document: dict[str, Any]) -> Iterator[str]:
    schema = resolved(schema, document)
    if not _is_type(value, schema.get("type")) or not _is_allowed(value, schema):
        yield f"{key}: {value!r} is not allowed; it must be {_allowed(schema)}"
    elif isinstance(value, dict):
        yield from _check_object(value, schema, key, document)
    elif isinstance(value, (list, tuple)):
        yield from _check_array(value, schema, key, document)


def resolved(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """Return a rule of ``document`` with what its ``$ref`` names put in."""
    reference = schema.get("$ref")
    if reference is None:
        return schema
    named = document["$defs"][reference.rpartition("/")[2]]
    return {**named, **{name: rule for name, rule in schema.items() if name != "$ref"}}


def _is_type(value: Any, name: str | None) -> bool:
    if name is None:
        return True
    # bool is a subclass of int in Python, not in JSON.
    if isinstance(value, bool):
        return name == "boolean"
    return isinstance(value, _TYPES[name])


def _is_allowed(value: Any, schema: dict[str, Any]) -> bool:
    if "enum" in schema and value not in schema["enum"]:
        return False
    if isinstance(value, str):
        # `$` also matches before a last newline, which would let a second line into a file.
        return "pattern" not in schema or (re.search(schema["pattern"], value) is not None and value[-1:] != "\n")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))
    if isinstance(value, (list, tuple)):
        return bool(len(value) >= schema.get("minItems", 0))
    return True


def _allowed(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    if "description" in schema:
        return str(schema["description"])
    words = _WORDS.get(schema.get("type", ""), "something else")
    if "minimum" in schema:
        words += f" from {schema['minimum']} to {schema['maximum']}"
    if schema.get("minItems"):
        words += f" of at least {schema['minItems']}"
    return words


def _check_object(value: dict[Any, Any], schema: dict[str, Any], key: str, document: dict[str, Any]) -> Iterator[str]:
    known = schema.get("properties", {})
    others = schema.get("additionalProperties", True)
    names = schema.get("propertyNames")
    for name, item in value.items():
        below = f"{key}:{name}"
        if name in known:
            yield from _check(item, known[name], below, document)
        elif others is False:
            yield f"{below}: unknown key{_guess(name, known)}; allowed are {', '.join(known)}"
        elif names and list(_check(name, names, below, document)):
            yield f"{below}: the key {name!r} is not allowed; it must be {_allowed(resolved(names, document))}"
        elif isinstance(others, dict):
            yield from _check(item, others, below, document)
    for name in schema.get("required", []):
        if name not in value:
            yield f"{key}:{name}: missing"


def _guess(name: Any, known: dict[str, Any]) -> str:
    close = difflib.get_close_matches(str(name), known, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _check_array(value: Any, schema: dict[str, Any], key: str, document: dict[str, Any]) -> Iterator[str]:
    seen: list[Any] = []
    for position, item in enumerate(value):
        below = f"{key}[{position}]"
        yield from _check(item, schema.get("items", {}), below, document)
        if schema.get("uniqueItems") and item in seen:
            yield f"{below}: {item!r} is there twice; name it once"
        seen.append(item)
