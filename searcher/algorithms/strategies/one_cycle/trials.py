"""The trials that the method asks for: a probe, range tests and cycles, from what the sweep file says."""

from __future__ import annotations

from typing import Any

from searcher.algorithms.batch_size import UPDATES
from searcher.algorithms.schedules import complete
from searcher.records import Configuration, Kind, TaskInfo, Trial

RAMP = {"sgd": (1e-3, 10.0), "adamw": (1e-4, 1.0)}
"""The lowest and highest learning rate of a range test; where nothing trains, the method shifts both."""

RANGE_STEPS = (24, 200)
"""The least and the most steps of a range test, which otherwise takes one epoch."""


PROBE_STEPS = 3
"""Steps that a probe times at each batch size."""


class Trials:
    """Makes the trials of one strategy, all with one batch size.

    Args:
        spec: what the sweep file says under `one_cycle`.
        first_seed: that of the probe.
    """

    def __init__(self, label: str, spec: Any, task: TaskInfo, batch_size: int, first_seed: int) -> None:
        self.label = label
        self.spec = spec
        self.task = task
        self.batch_size = batch_size
        self.first_seed = first_seed
        self.ramp = RAMP[spec.optimizer]

    def batch_probe(self) -> Trial:
        """Times and weighs the batches up to this batch size."""
        return self._trial(
            Kind.BATCH_PROBE,
            self.first_seed,
            PROBE_STEPS,
            f"batch size: how fast is a step, and how much memory does it take, up to {self.batch_size}, "
            f"with which the longest cycle has {UPDATES} updates",
            lr=RAMP[self.spec.optimizer][0],
            weight_decay=0.0,
            schedule="constant",
            momentum=self.spec.momentum[0],
        )

    def range_steps(self) -> int:
        """One epoch, but enough steps to see a shape and no more than that needs."""
        least, most = RANGE_STEPS
        return min(max(self.task.steps_per_epoch(self.batch_size), least), most)

    def range_test(self, weight_decay: float, seed: int, shift: float = 1.0, why: str = "") -> Trial:
        """A range test; `shift` multiplies both ends of its ramp."""
        low, high = (rate * shift for rate in self.ramp)
        return self._trial(
            Kind.RANGE_TEST,
            seed,
            self.range_steps(),
            f"range test of weight decay {weight_decay:g}, seed {seed}: learning rate {low:g} to {high:g}{why}",
            lr=high,
            weight_decay=weight_decay,
            schedule=f"range_{self.spec.ramp}",
            # The momentum that a cycle has where its learning rate is largest.
            momentum=self.spec.momentum[0],
            momentum_schedule="constant",
            div_factor=high / low,
        )

    def cycle(self, peak: float, weight_decay: float, seed: int, epochs: int, reason: str) -> Trial:
        """A cycle that peaks at a learning rate."""
        constant = self.spec.momentum_schedule == "constant"
        return self._trial(
            Kind.TRAIN,
            seed,
            epochs,
            reason,
            lr=rounded(peak),
            weight_decay=weight_decay,
            schedule="one_cycle",
            momentum=self.spec.momentum[1],
            momentum_low=None if constant else self.spec.momentum[0],
            momentum_schedule=self.spec.momentum_schedule,
            div_factor=self.spec.div_factor,
            final_div_factor=self.spec.final_div_factor,
            annihilation=self.spec.annihilation,
        )

    def _trial(self, kind: Kind, seed: int, length: int, reason: str, **hyper_parameters: Any) -> Trial:
        configuration = Configuration(
            batch_size=self.batch_size,
            optimizer=self.spec.optimizer,
            precision=self.spec.precision,
            **hyper_parameters,
        )
        return Trial(
            task=self.task.name,
            strategy=self.label,
            configuration=complete(configuration),
            seed=seed,
            length=length,
            kind=kind,
            reason=reason,
        )


def rounded(value: float) -> float:
    """No more digits than a person would write down, so that two ways to one value meet."""
    return float(f"{value:.3g}")
