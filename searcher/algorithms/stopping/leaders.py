"""What other trials have reached."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class Leaders:
    """The lowest finite test loss of all, and the lowest of the trials other than that one: O(1) a report."""

    first: tuple[float, str] = (math.inf, "")
    second: tuple[float, str] = (math.inf, "")

    def add(self, trial_id: str, loss: float) -> None:
        if not math.isfinite(loss):
            return
        if trial_id == self.first[1]:
            self.first = min(self.first, (loss, trial_id))
        elif loss < self.first[0]:
            self.first, self.second = (loss, trial_id), self.first
        elif loss < self.second[0]:
            self.second = (loss, trial_id)

    def best_without(self, trial_id: str) -> float | None:
        best = self.second[0] if trial_id == self.first[1] else self.first[0]
        return best if math.isfinite(best) else None
