"""Two sweeps' worth of plain data: setting one field of it, and telling which fields differ."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Any

from searcher._yaml import read_yaml
from searcher.errors import SweepError
from searcher.sweep_errors import Path, dotted, shown

_STEP = re.compile(r"\.?([A-Za-z_]\w*)|\.(\d+)|\[(\d+)\]", re.ASCII)


def set_field(data: Mapping[str, Any], override: str) -> dict[str, Any]:
    """A copy of `data` with one field set: `strategies.0.grid.lr=[0.1]`, or `strategies[0].grid.lr=[0.1]`.

    A key that is not there is added, for the models to judge; an index must be there.

    Raises:
        SweepError: one line: not PATH=VALUE, a VALUE that is not YAML, or a path that leads nowhere.
    """
    name, equals, text = override.partition("=")
    path = _parse_path(name.strip())
    if not equals or not path:
        raise SweepError(f"--set {override}: must be PATH=VALUE, such as strategies.0.grid.lr=[0.1,0.2]")
    try:
        value = read_yaml(text)
    except ValueError as error:
        raise SweepError(f"--set {override}: the value is not YAML: {error}") from error
    result: dict[str, Any] = _replaced(data, path, 0, value)
    return result


def _parse_path(text: str) -> Path:
    steps, at = [], 0
    while at < len(text):
        step = _STEP.match(text, at)
        if step is None:
            return ()
        steps.append(step[1] if step[1] else int(step[2] or step[3]))
        at = step.end()
    return tuple(steps)


def _replaced(node: Any, path: Path, depth: int, value: Any) -> Any:
    # Builds anew instead of writing in place: by an alias, one list may stand in two places of a file.
    if depth == len(path):
        return value
    part, here = path[depth], dotted(path[:depth]) or "the sweep"
    if isinstance(node, Mapping) and isinstance(part, str):
        inner = node.get(part)
        return {**node, part: _replaced({} if inner is None else inner, path, depth + 1, value)}
    if isinstance(node, (list, tuple)) and isinstance(part, int):
        if part >= len(node):
            raise SweepError(
                f"--set {dotted(path)}: {here} has {len(node)} items, so the last index is {len(node) - 1}"
            )
        return [*node[:part], _replaced(node[part], path, depth + 1, value), *node[part + 1 :]]
    raise SweepError(f"--set {dotted(path)}: {here} is {shown(node)}, which has no '{part}' in it")


def changed_paths(mine: Any, theirs: Any, path: Path = ()) -> list[str]:
    """The paths at which two values made of mappings, lists and scalars differ, in the order of the first."""
    if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
        keys = list(dict.fromkeys([*mine, *theirs]))
        return [line for key in keys for line in changed_paths(mine.get(key), theirs.get(key), (*path, key))]
    if isinstance(mine, list) and isinstance(theirs, list) and _has_mappings(mine + theirs):
        pairs = itertools.zip_longest(mine, theirs)
        return [line for i, (one, other) in enumerate(pairs) for line in changed_paths(one, other, (*path, i))]
    return [] if mine == theirs else [dotted(path)]


def _has_mappings(items: list[Any]) -> bool:
    return any(isinstance(item, Mapping) for item in items)
