"""Safe YAML with the scalars of YAML 1.2's core schema (yaml.org/spec/1.2.2, section 10.3.2).

PyYAML reads YAML 1.1, where `1e-3` is a string, `off` is false and `1:30` is ninety. Here `1e-3` is a
number, and `off`, `no`, `yes` and dates are the text they look like. A key given twice is an error, and so
is a tag other than the core's: nothing is ever built but mappings, lists, text, numbers, booleans and null.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

_TAG = "tag:yaml.org,2002:"


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, with constructors and resolvers of its own instead of those of YAML 1.1."""


_Loader.yaml_constructors = {}
_Loader.yaml_multi_constructors = {}
_Loader.yaml_implicit_resolvers = {}


def _fault(problem: str, node: yaml.Node) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    result: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            raise _fault(f"a key must be text, got {key!r}", key_node)
        if key in result:
            raise _fault(f"the key {key!r} is given twice", key_node)
        result[key] = loader.construct_object(value_node, deep=True)
    return result


def _list(loader: _Loader, node: yaml.SequenceNode) -> list[Any]:
    return [loader.construct_object(item, deep=True) for item in node.value]


def _int(_: _Loader, node: yaml.ScalarNode) -> int:
    text = node.value
    base = {"0o": 8, "0x": 16}.get(text[:2], 10)
    try:
        return int(text, base)
    except ValueError as error:  # more digits than Python reads, or a text that was tagged !!int
        raise _fault(f"not a whole number that can be read: {text[:20]!r}", node) from error


def _float(_: _Loader, node: yaml.ScalarNode) -> float:
    try:
        return float(node.value.lower().replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError as error:
        raise _fault(f"not a number: {node.value[:20]!r}", node) from error


def _unknown(_: _Loader, node: yaml.Node) -> Any:
    raise _fault(f"the tag {node.tag.replace(_TAG, '!!')!r} is not allowed here", node)


_Loader.add_constructor(_TAG + "map", _mapping)
_Loader.add_constructor(_TAG + "seq", _list)
_Loader.add_constructor(_TAG + "str", lambda _, node: node.value)
_Loader.add_constructor(_TAG + "null", lambda *_: None)
_Loader.add_constructor(_TAG + "bool", lambda _, node: node.value.lower() == "true")
_Loader.add_constructor(_TAG + "int", _int)
_Loader.add_constructor(_TAG + "float", _float)
_Loader.add_constructor(None, _unknown)

for _name, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
):
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(f"^(?:{_pattern})$"), _first)


class _Dumper(yaml.SafeDumper):
    """Short lists stand on one line, nothing is written as an alias, and no text reads back as a number.

    PyYAML quotes what YAML 1.1 would misread, which serves other readers; `1e3` it must be told of.
    """

    def represent_text(self, data: str) -> yaml.ScalarNode:
        style = "'" if any(pattern.match(data) for pattern in _PATTERNS) else None
        return self.represent_scalar(_TAG + "str", data, style=style)

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> Any:
        plain = all(isinstance(item, (str, int, float)) for item in sequence)
        return super().represent_sequence(tag, sequence, flow_style=plain or flow_style)


_PATTERNS = [pattern for rules in _Loader.yaml_implicit_resolvers.values() for _, pattern in rules]
_Dumper.add_representer(str, _Dumper.represent_text)


def read_yaml(text: str) -> Any:
    """The value of one YAML document.

    Raises:
        ValueError: not YAML; one line, with the line and the column of the fault, both from 1.
    """
    try:
        loader = _Loader(text)
        return loader.get_single_data()
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        what = error.problem or error.context or "not YAML"
        raise ValueError(place + " ".join(what.split())) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - text.rfind("\n", 0, error.position)
        message = f"line {line}, column {column}: the character {chr(error.character)!r} is not allowed"
        raise ValueError(message) from error


def write_yaml(value: Any) -> str:
    """YAML that `read_yaml` and any other reader read back as `value`; mappings keep their order."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=100))
