"""What the method may spend, and what it has spent. Time is that which the trials recorded, never a clock's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Unit = Literal["epochs", "samples", "seconds", "money"]


@dataclass(frozen=True, slots=True)
class Spending:
    """Training samples processed, and the seconds for which trials occupied a device."""

    samples: int = 0
    seconds: float = 0.0

    def __add__(self, other: Spending) -> Spending:
        return Spending(self.samples + other.samples, self.seconds + other.seconds)

    def ahead(self, samples: float) -> Spending:
        """With that many samples more, at the speed so far."""
        speed = self.seconds / self.samples if self.samples else 0.0
        return Spending(round(self.samples + samples), self.seconds + samples * speed)


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that may be spent.

    Attributes:
        price_per_hour: of one device, in the currency of the amount; only for money.
    """

    unit: Unit
    amount: float
    price_per_hour: float = 0.0

    def holds(self, spending: Spending, train_size: int) -> bool:
        """Whether so much may be spent."""
        return self.of(spending, train_size) <= self.amount * (1 + 1e-9)

    def of(self, spending: Spending, train_size: int) -> float:
        """The spending in the budget's unit; `train_size` samples are an epoch."""
        match self.unit:
            case "epochs":
                return spending.samples / train_size
            case "samples":
                return spending.samples
            case "seconds":
                return spending.seconds
            case "money":
                return spending.seconds / 3600 * self.price_per_hour

    def samples(self, train_size: int) -> float:
        """As training samples; infinite where the budget does not fix them."""
        return {"epochs": self.amount * train_size, "samples": self.amount}.get(self.unit, math.inf)

    def __str__(self) -> str:
        return f"{self.amount:g} {self.unit}"
