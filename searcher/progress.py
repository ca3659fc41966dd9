"""Live progress of a run: a Rich table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from searcher.algorithms.strategies.base import Plan
from searcher.records import EpochRecord, History, Record, Status, StepRecord, TrialRecord
from searcher.sweep import Sweep

LINE_EVERY = 10.0
"""Seconds between two plain lines, where the output is not a terminal."""

TELLING = 0.02
"""The time that is left is told once this fraction of the samples is behind: before, starting takes most of it."""


@dataclass
class StrategyProgress:
    """What one strategy has done so far. Samples count what is still running as well."""

    plan: Plan
    trials: int = 0
    statuses: dict[Status, int] = field(default_factory=dict)
    finished_samples: int = 0
    running: dict[str, int] = field(default_factory=dict)
    best_loss: float = math.inf
    best_accuracy: float | None = None

    @property
    def samples(self) -> int:
        return self.finished_samples + sum(self.running.values())

    @property
    def left(self) -> float:
        """Samples that are still to come. A trial that ends early never uses its plan, so trials are counted."""
        return self.plan.samples * max(0.0, 1 - self.trials / max(self.plan.trials, 1))

    @property
    def counted(self) -> str:
        """Trials, of those that are planned."""
        return f"{self.trials}/{'' if self.plan.exact else '~'}{self.plan.trials}"

    def add(self, record: Record) -> None:
        match record:
            case EpochRecord():
                self.running[record.trial_id] = record.samples
                self._best(record.test_loss, record.test_accuracy)
            case StepRecord():
                self.running[record.trial_id] = record.samples
            case TrialRecord():
                self.running.pop(record.trial_id, None)
                self.finished_samples += record.samples
                self.trials += 1
                self.statuses[record.status] = self.statuses.get(record.status, 0) + 1
                if record.best_test_loss is not None:
                    self._best(record.best_test_loss, record.best_test_accuracy)

    def _best(self, loss: float, accuracy: float | None) -> None:
        if loss < self.best_loss:
            self.best_loss, self.best_accuracy = loss, accuracy

    def snapshot(self) -> dict[str, Any]:
        """The counts as JSON can hold them; `restored` reads them in another process."""
        finite = math.isfinite(self.best_loss)
        return {
            "plan": asdict(self.plan),
            "trials": self.trials,
            "statuses": dict(self.statuses),
            "samples": self.samples,
            "best": [self.best_loss, self.best_accuracy] if finite else None,
        }

    @classmethod
    def restored(cls, snapshot: Mapping[str, Any]) -> StrategyProgress:
        loss, accuracy = snapshot["best"] or (math.inf, None)
        return cls(
            Plan(**snapshot["plan"]),
            trials=snapshot["trials"],
            statuses={Status(name): count for name, count in snapshot["statuses"].items()},
            finished_samples=snapshot["samples"],
            best_loss=loss,
            best_accuracy=accuracy,
        )


class Progress:
    """An observer of `study.run` that shows what it sees; of a run that has `ended` without what is left."""

    def __init__(self, console: Console | None = None, name: str = "", ended: bool = False) -> None:
        self.name = name
        self._ended = ended
        self.console = console or Console(stderr=True)
        self.strategies: dict[str, StrategyProgress] = {}
        self._started = self._printed = time.monotonic()
        self._before = 0
        self._live: Live | None = None

    def begin(self, sweep: Sweep, plans: Mapping[str, Plan], histories: Mapping[str, History]) -> None:
        self.name = sweep.name
        for label, plan in plans.items():
            self.strategies[label] = StrategyProgress(plan)
            for record in histories[label]:
                self.strategies[label].add(record)
        self._before = sum(progress.samples for progress in self.strategies.values())
        if self.console.is_terminal:
            self._live = Live(get_renderable=self.render, console=self.console, refresh_per_second=4)
            self._live.start()
        else:
            self.console.print(f"{sweep.name}: task {sweep.task}, starting Ray")

    def record(self, record: Record) -> None:
        self.strategies[record.strategy].add(record)
        self._print_now_and_then()

    def show(self, strategies: Mapping[str, StrategyProgress], elapsed: float, before: int) -> None:
        """Shows what a run elsewhere has counted.

        Args:
            elapsed: seconds since that run began.
            before: samples that it found when it began, from an interrupted run.
        """
        self.strategies = dict(strategies)
        self._started, self._before = time.monotonic() - elapsed, before
        self._print_now_and_then()

    def _print_now_and_then(self) -> None:
        if self._live is None and time.monotonic() - self._printed > LINE_EVERY:
            self._printed = time.monotonic()
            self.console.print(self.line(), soft_wrap=True)

    def end(self) -> None:
        self._ended = True
        if self._live is not None:
            self._live.stop()
        else:
            self.console.print(self.line(), soft_wrap=True)

    def render(self) -> RenderableType:
        """The table of a terminal."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("strategy")
        reference = self._reference()
        of_plan = f"of {reference}'s plan" if reference else "of its plan"
        for name in ("trials", "best test loss", "its accuracy", "cost (samples)", of_plan, "ended early"):
            table.add_column(name, justify="right")
        for label, progress in self.strategies.items():
            plan = self.strategies[reference or label].plan
            table.add_row(
                label,
                progress.counted,
                f"{progress.best_loss:.4f}" if math.isfinite(progress.best_loss) else "-",
                "-" if progress.best_accuracy is None else f"{progress.best_accuracy:.4f}",
                f"{progress.samples:,}",
                f"{progress.samples / plan.samples:.1%}",
                str(progress.trials - progress.statuses.get(Status.COMPLETED, 0)),
            )
        return Group(Text(self._head(), style="dim"), table)

    def line(self) -> str:
        """One plain line."""
        parts = []
        for label, progress in self.strategies.items():
            best = f", best test loss {progress.best_loss:.4f}" if math.isfinite(progress.best_loss) else ""
            parts.append(f"{label} {progress.counted} trials{best}")
        return f"{self._head()}: {'; '.join(parts)}"

    def _reference(self) -> str | None:
        """The strategy that the others' costs are set against: the grid, where there is one beside others."""
        return "grid" if "grid" in self.strategies and len(self.strategies) > 1 else None

    def _head(self) -> str:
        elapsed = time.monotonic() - self._started
        done = sum(progress.samples for progress in self.strategies.values()) - self._before
        left = sum(progress.left for progress in self.strategies.values())
        told = not self._ended and elapsed > 0 and left > 0 and done >= TELLING * (done + left)
        remaining = f", about {_minutes(left * elapsed / done)} left" if told else ""
        return f"{self.name} {_minutes(elapsed)}{remaining}"


def _minutes(seconds: float) -> str:
    return f"{int(seconds // 60)}:{int(seconds % 60):02d}"
