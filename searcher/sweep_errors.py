"""One line for each fault of a sweep: the path of the field, what it got, and what would be right."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from searcher.errors import nearest

Path = tuple[str | int, ...]

# A sweep file may hold (or, by aliases, pretend to hold) a list of any length; a line must stay a line.
_short = reprlib.Repr()
_short.maxstring = _short.maxother = 60
_short.maxlist = _short.maxdict = _short.maxtuple = 8
_short.maxlevel = 3


_WANTED = {
    "model_type": "must be a mapping of keys to values",
    "tuple_type": "must be a list",
    "too_short": "must not be empty",
}


def shown(value: Any) -> str:
    """The value as it stands in an error: on one line, and not too long."""
    if value is None:
        return "nothing"
    text = " ".join(_short.repr(value).split())
    return text if len(text) <= 120 else text[:120] + "…"


def dotted(path: Path) -> str:
    """`("strategies", 1, "random", "lr")` as `strategies[1].random.lr`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{_key(part)}" for part in path)
    return "".join(parts).removeprefix(".")


def _key(key: str) -> str:
    return key if key.isprintable() and 0 < len(key) <= 60 else shown(key)


def unknown_key(key: str, known: Sequence[str]) -> str:
    """What is wrong with a key that is not known, with the nearest of those that are, or all of them."""
    hint = nearest(key, known).strip()
    return f"unknown key; {hint[0].lower() + hint[1:] if hint else 'the keys here are ' + ', '.join(known)}"


def lines_of(error: ValidationError, model: type[BaseModel], data: Any) -> list[str]:
    """One line for each fault that pydantic found in `data` while it built `model`."""
    details = error.errors(include_url=False, include_context=True)
    misspelt = {
        (*_path(detail, data)[:-1], _guess(detail, model))
        for detail in details
        if detail["type"] == "extra_forbidden"
    }
    # A misspelt required key is one fault, not two: unknown there, and missing here.
    return [
        _line(detail, model, data)
        for detail in details
        if detail["type"] != "missing" or _path(detail, data) not in misspelt
    ]


def _line(detail: ErrorDetails, model: type[BaseModel], data: Any) -> str:
    path = _path(detail, data)
    match detail["type"]:
        case "extra_forbidden":
            return f"{dotted(path)}: {unknown_key(str(path[-1]), _keys(model, detail['loc']))}"
        case "missing":
            return f"{dotted(path)}: missing; {_meaning(model, detail['loc'])}"
        case "rejected":  # its own words follow the path
            return dotted(path) + detail["msg"]
    wanted = _WANTED.get(detail["type"], detail["msg"])
    return f"{dotted(path)}: got {shown(detail['input'])}; {wanted}"


def _path(detail: ErrorDetails, data: Any) -> Path:
    """The fault's place in the file: without the parts that stand only in the models.

    A scalar where a list may stand is a list of one in the model, but in the file it has no index.
    """
    loc = detail["loc"]
    path: list[str | int] = []
    for place, part in enumerate(loc):
        if isinstance(data, Mapping):
            present = part in data
        else:
            present = isinstance(part, int) and isinstance(data, (list, tuple)) and part < len(data)
        if present:
            data = data[part]
        elif not (detail["type"] == "missing" and place == len(loc) - 1):
            continue
        path.append(part)
    return tuple(path)


def _guess(detail: ErrorDetails, model: type[BaseModel]) -> str:
    hint = nearest(str(detail["loc"][-1]), _keys(model, detail["loc"]))
    return hint.split("'")[1] if hint else ""


def _keys(model: type[BaseModel], loc: Path) -> list[str]:
    return list(_owner(model, loc).model_fields)


def _meaning(model: type[BaseModel], loc: Path) -> str:
    return _owner(model, loc).model_fields[str(loc[-1])].description or "this key is required"


def _owner(model: type[BaseModel], loc: Path) -> type[BaseModel]:
    """The model that has (or should have) the last key of `loc`."""
    for part in loc[:-1]:
        if isinstance(part, str):
            model = next(iter(_models_in(model.model_fields[part].annotation)))
    return model


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for inner in getattr(annotation, "__args__", ()) for found in _models_in(inner)]
