"""One strategy of a sweep file: a mapping of its kind to what it needs to know."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from searcher.sweep_errors import shown
from searcher.sweep_fields import Model, rejected
from searcher.sweep_peers import AshaSpec, BohbSpec, TpeSpec
from searcher.sweep_strategies import GridSpec, OneCycleSpec, RandomSpec

Spec = GridSpec | RandomSpec | OneCycleSpec | AshaSpec | TpeSpec | BohbSpec


class StrategyEntry(Model):
    """One strategy of the sweep: a mapping of its kind to what it needs to know."""

    grid: GridSpec | None = None
    random: RandomSpec | None = None
    one_cycle: OneCycleSpec | None = None
    asha: AshaSpec | None = None
    tpe: TpeSpec | None = None
    bohb: BohbSpec | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        given = list(self._given())
        if len(given) != 1:
            empty = [f".{kind}: got nothing" for kind in sorted(self.model_fields_set - set(given))]
            fault = empty[0] if empty else f": got {shown(given)}"
            kinds = ", ".join(StrategyEntry.model_fields)
            raise rejected(f"{fault}; must have exactly one of {kinds}, with its values")
        return self

    def _given(self) -> dict[str, Spec]:
        specs = {kind: getattr(self, kind) for kind in StrategyEntry.model_fields}
        return {kind: spec for kind, spec in specs.items() if spec is not None}

    @property
    def kind(self) -> str:
        """`grid`, `random`, `one_cycle`, ..."""
        return next(iter(self._given()))

    @property
    def spec(self) -> Spec:
        """What the strategy of this kind needs to know."""
        return self._given()[self.kind]

    @property
    def label(self) -> str:
        """The strategy's name in this sweep: that of its spec, or its kind."""
        return self.spec.name or self.kind


def labels_differ(entries: tuple[StrategyEntry, ...]) -> tuple[StrategyEntry, ...]:
    """Refuses a label that two strategies share: results are kept by it."""
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        if entry.label in seen:
            raise rejected(
                f"[{index}].{entry.kind}.name: got {entry.label!r}; "
                "a strategy before it has this name, so give it another one"
            )
        seen.add(entry.label)
    return entries
