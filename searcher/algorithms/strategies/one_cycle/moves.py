"""What to change next, by the diagnosis of the best cycle so far.

1803.09820, section 3: what under-fits needs more training or less regularization, what over-fits needs more
regularization, and a large learning rate regularizes, as weight decay does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from searcher.algorithms.diagnosis import Fit

SMALLEST_DECAY = {"sgd": 1e-4, "adamw": 1e-3}
"""Below it there is none."""

FIRST_DECAY = {"sgd": 1e-3, "adamw": 1e-1}
"""The first step up from less: smaller ones hardly show."""

LARGEST_DECAY = {"sgd": 1e-1, "adamw": 1.0}
WHOLE_STEP, HALF_STEP = 10.0, 10**0.5
"""The exponent of the weight decay is bisected. A whole power of ten comes first: what half of one does is hidden
in the luck of a short cycle."""


@dataclass(frozen=True, slots=True)
class Point:
    """A cycle but for its seed.

    Attributes:
        exponent: of the power of two that the rate at which the walk started is divided by.
        level: an index into the lengths that a cycle may have.
    """

    exponent: int
    weight_decay: float
    level: int


class Change(StrEnum):
    """What a move changes."""

    HIGHER = "higher peak"
    LOWER = "lower peak"
    MORE_DECAY = "more weight decay"
    LESS_DECAY = "less weight decay"
    LENGTH = "length"

    @property
    def opposite(self) -> Change:
        return _OPPOSITE.get(self, self)


_OPPOSITE = {
    Change.HIGHER: Change.LOWER,
    Change.LOWER: Change.HIGHER,
    Change.MORE_DECAY: Change.LESS_DECAY,
    Change.LESS_DECAY: Change.MORE_DECAY,
}


@dataclass(frozen=True, slots=True)
class Move:
    """A point to try, what it changes, and that in words."""

    point: Point
    words: str
    change: Change = Change.LENGTH


class Moves:
    """The moves from a point. `lengths`: those that a cycle may have, in epochs, rising."""

    def __init__(self, optimizer: str, lengths: Sequence[int]) -> None:
        self.lengths = tuple(lengths)
        self._smallest, self._largest = SMALLEST_DECAY[optimizer], LARGEST_DECAY[optimizer]
        self._first = FIRST_DECAY[optimizer]
        self.lost: set[float] = set()
        """Weight decays that did worse than another one when both were tried: from there on, half a step."""

    def of(self, point: Point, fit: Fit) -> Iterator[Move]:
        """The moves that a diagnosis calls for, the most promising first."""
        orders: dict[Fit, tuple[Callable[[Point], Move | None], ...]] = {
            Fit.UNDER: (
                self._longer,
                self._longer_with_more_decay,
                self._less_decay,
                self._more_decay,
                self._higher,
                self._lower,
            ),
            # More decay is tried while a cycle is cheap, and longer ones start from there: the other way round the
            # budget goes into long cycles that fit too closely.
            Fit.GOOD: (
                self._more_decay,
                self._longer,
                self._longer_with_more_decay,
                self._higher,
                self._less_decay,
                self._lower,
            ),
            Fit.OVER: (self._more_decay, self._higher, self._longer_with_more_decay, self._shorter, self._lower),
            Fit.DIVERGED: (self._lower, self._less_decay),
        }
        for make in orders[fit]:
            if (move := make(point)) is not None:
                yield move

    def rivals(self, point: Point, fit: Fit) -> Iterator[Move]:
        """What a longer cycle may like more than the shorter ones did, the most promising first."""
        orders: dict[Fit, tuple[Callable[[Point], Move | None], ...]] = {
            Fit.UNDER: (self._higher, self._more_decay),
            Fit.GOOD: (self._more_decay, self._higher, self._lower),
            Fit.OVER: (self._more_decay, self._higher, self._lower),
            Fit.DIVERGED: (self._lower,),
        }
        for make in orders[fit]:
            if (move := make(point)) is not None:
                yield move

    def _longer(self, point: Point) -> Move | None:
        if point.level + 1 >= len(self.lengths):
            return None
        return Move(
            replace(point, level=point.level + 1), f"a longer cycle, {self.lengths[point.level + 1]} epochs"
        )

    def _longer_with_more_decay(self, point: Point) -> Move | None:
        """A longer cycle alone may over-fit where the shorter one did not."""
        longer, more = self._longer(point), self._more_decay(point)
        if longer is None or more is None:
            return None
        both = replace(longer.point, weight_decay=more.point.weight_decay)
        return Move(both, f"{longer.words}, with {more.words}")

    def _shorter(self, point: Point) -> Move | None:
        if point.level == 0:
            return None
        return Move(
            replace(point, level=point.level - 1), f"a shorter cycle, {self.lengths[point.level - 1]} epochs"
        )

    def _more_decay(self, point: Point) -> Move | None:
        more = max(_rounded(point.weight_decay * WHOLE_STEP), self._first)
        if more in self.lost or more > self._largest:
            more = max(_rounded(point.weight_decay * HALF_STEP), self._first)
        if more > self._largest:
            return None
        return Move(replace(point, weight_decay=more), f"more weight decay, {more:g}", Change.MORE_DECAY)

    def _less_decay(self, point: Point) -> Move | None:
        if not point.weight_decay:
            return None
        less = self._decay(point.weight_decay / WHOLE_STEP)
        if less in self.lost:
            less = self._decay(point.weight_decay / HALF_STEP)
        return Move(replace(point, weight_decay=less), f"less weight decay, {less:g}", Change.LESS_DECAY)

    def _decay(self, value: float) -> float:
        return _rounded(value) if _rounded(value) >= self._smallest else 0.0

    def _higher(self, point: Point) -> Move | None:
        return Move(replace(point, exponent=point.exponent - 1), "a higher peak, twice the rate", Change.HIGHER)

    def _lower(self, point: Point) -> Move | None:
        return Move(replace(point, exponent=point.exponent + 1), "a lower peak, half the rate", Change.LOWER)


def _rounded(value: float) -> float:
    """Two digits, so that a step up and a step down meet where they started."""
    return float(f"{value:.2g}")
