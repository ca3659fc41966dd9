"""From what a sweep file says to a rule."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from searcher.algorithms.stopping.base import Rule
from searcher.algorithms.stopping.overfit import Overfit
from searcher.algorithms.stopping.prechelt import GeneralizationLoss, ProgressQuotient, UpCrossing
from searcher.algorithms.stopping.simple import Never, Patience
from searcher.errors import ConfigurationError, nearest

RULES: Mapping[str, Callable[..., Rule]] = {
    "default": Overfit,
    "off": Never,
    "gl": GeneralizationLoss,
    "pq": ProgressQuotient,
    "up": UpCrossing,
    "patience": Patience,
}


def rule_from(spec: str | bool | Mapping[str, Any] | Rule) -> Rule:
    """The rule that a specification names.

    `default`, `off`, `up` and so on name a rule with its usual parameters; `{rule: up, s: 3, strip: 5}`
    sets some of them; without `rule` the parameters are those of the default. `{overfit: ...}`, as in a
    sweep file, is opened. A rule is given back as it is. (`off` and `on` are false and true to a YAML
    reader, so these are understood.)

    Raises:
        ConfigurationError: an unknown rule or parameter (names the nearest), or a value out of its range.
    """
    if isinstance(spec, bool):
        return RULES["default" if spec else "off"]()
    if isinstance(spec, str):
        return _build(spec, {})
    if isinstance(spec, Mapping):
        if set(spec) == {"overfit"}:
            return rule_from(spec["overfit"])
        parameters = dict(spec)
        name = parameters.pop("rule", "default")
        return _build("off" if name is False else name, parameters)
    if hasattr(spec, "judge") and hasattr(spec, "start"):
        return spec
    raise ConfigurationError(f"stop.overfit: must be a rule's name or its parameters, got {spec!r}")


def _build(name: Any, parameters: Mapping[str, Any]) -> Rule:
    if name not in RULES:
        known = ", ".join(RULES)
        raise ConfigurationError(f"stop.overfit: no rule {name!r}; known: {known}.{nearest(str(name), RULES)}")
    made = RULES[name]
    fields = [item.name for item in dataclasses.fields(made)]  # type: ignore[arg-type]
    for parameter in parameters:
        if parameter not in fields:
            known = ", ".join(fields) or "none"
            raise ConfigurationError(
                f"stop.overfit: rule {name!r} has no parameter {parameter!r}; known: {known}."
                f"{nearest(str(parameter), fields)}"
            )
    return made(**parameters)
