"""The story of the one-cycle method in a stored sweep: what was measured, what followed from it, what it cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from searcher.algorithms.choice import candidates, choose
from searcher.algorithms.diagnosis import diagnose
from searcher.algorithms.range_test import analyse
from searcher.errors import NothingFoundError
from searcher.records import History, Kind, Status, TrialRecord
from searcher.results.query import Results
from searcher.results.store import read_history
from searcher.sweep import parse_sweep


@dataclass(frozen=True)
class Step:
    """One trial of the story.

    Attributes:
        why: for what reason it was proposed.
        what: what it was.
        outcome: what it came to.
        epochs: what it cost, in epochs; total: with everything before it.
    """

    why: str
    what: str
    outcome: str
    epochs: float
    total: float


@dataclass(frozen=True)
class Story:
    """What one strategy of a sweep did, in the order in which it asked for it.

    Attributes:
        chosen: the configuration that it arrived at, in one line.
    """

    sweep: str
    strategy: str
    steps: tuple[Step, ...]
    chosen: str

    def text(self) -> str:
        """For a terminal."""
        lines = [f"{self.sweep}, {self.strategy}: {len(self.steps)} trials"]
        for number, step in enumerate(self.steps, start=1):
            lines += [
                "",
                f"{number}. {step.what}",
                f"   why:  {step.why}",
                f"   gave: {step.outcome}",
                f"   cost: {step.epochs:.1f} epochs, {step.total:.1f} so far",
            ]
        return "\n".join([*lines, "", self.chosen])

    def __str__(self) -> str:
        return self.text()


def explain(sweep: str, results: str = "results", strategy: str | None = None) -> list[Story]:
    """The stories of a stored sweep's one-cycle strategies; of any strategy, if it is named.

    Args:
        sweep: its name.
        results: the results folder.
        strategy: a label; by default all strategies of the kind `one_cycle`.

    Raises:
        NothingFoundError: no such sweep or strategy, or it has measured nothing yet.
    """
    row = Results(results).sweeps(sweep=sweep).iloc[0]
    entries = parse_sweep(row["text"]).strategies
    labels = [
        one.label for one in entries if (one.kind == "one_cycle" if strategy is None else one.label == strategy)
    ]
    if not labels:
        known = ", ".join(one.label for one in entries)
        raise NothingFoundError(
            f"sweep '{sweep}': it has no strategy " + (f"'{strategy}'" if strategy else "of the kind one_cycle")
            + f"; its strategies are {known}"
        )  # fmt: skip
    histories = read_history(results, sweep, labels)
    return [_story(sweep, label, histories, int(row["train_size"])) for label in labels]


def _story(sweep: str, label: str, histories: Mapping[str, History], train_size: int) -> Story:
    history = histories.get(label)
    records = sorted(history or (), key=lambda one: (one.started, one.finished))
    if history is None or not records:
        raise NothingFoundError(f"sweep '{sweep}': '{label}' has measured nothing yet")
    total, steps = 0.0, []
    for record in records:
        epochs = record.samples / train_size
        total += epochs
        steps.append(Step(record.trial.reason, _what(record), _outcome(record, history), epochs, total))
    return Story(sweep, label, tuple(steps), _chosen(records, total))


def _what(record: TrialRecord) -> str:
    trial, configuration = record.trial, record.trial.configuration
    match trial.kind:
        case Kind.BATCH_PROBE:
            return f"probe for the batch size, up to {configuration.batch_size}"
        case Kind.RANGE_TEST:
            return (
                f"range test, weight decay {configuration.weight_decay:g}, seed {trial.seed}, {trial.length} steps"
            )
    return (
        f"{configuration.schedule}, peak {configuration.lr:g}, weight decay {configuration.weight_decay:g}, "
        f"batch size {configuration.batch_size}, {trial.length} epochs, seed {trial.seed}"
    )


def _outcome(record: TrialRecord, history: History) -> str:
    if record.status is Status.FAILED or record.trial.kind is Kind.BATCH_PROBE:
        return record.status_reason
    if record.trial.kind is Kind.RANGE_TEST:
        return "; ".join(_read(record, history))
    epochs = history.epochs(record.trial)
    told = "; ".join(_reached(record))
    if not epochs:
        return told
    return f"{told}; {diagnose([one.train_loss for one in epochs], [one.test_loss for one in epochs]).reason}"


def _read(record: TrialRecord, history: History) -> Iterator[str]:
    steps = history.steps(record.trial)
    if not steps:
        yield "no step was measured"
        return
    test = analyse([one.lr for one in steps], [one.train_loss for one in steps])
    usable = test.suggestions["usable"]
    yield f"usable up to {usable.lr:.3g}: {usable.reason}"
    yield f"lowest loss {test.min_loss:.4g} at {test.lr_at_minimum:.3g}"
    if record.status_reason:
        yield record.status_reason


def _reached(record: TrialRecord) -> Iterator[str]:
    if record.best_test_loss is None:
        yield f"{record.status}: {record.status_reason or 'no epoch had a finite loss'}"
        return
    yield f"test loss {record.best_test_loss:.4g} at epoch {record.best_epoch}"
    if record.best_test_accuracy is not None:
        yield f"accuracy {record.best_test_accuracy:.4f}"
    if record.status is not Status.COMPLETED:
        yield f"{record.status}: {record.status_reason}"


def _chosen(records: list[TrialRecord], epochs: float) -> str:
    best = choose(candidates(records))
    if best is None:
        return f"nothing was chosen: no cycle trained; {epochs:.1f} epochs in all"
    configuration = best.configuration
    loss = best.mean("best_test_loss")
    seeds = f"{len(best.good)} seed{'' if len(best.good) == 1 else 's'}"
    return (
        f"chosen: peak {configuration.lr:g}, weight decay {configuration.weight_decay:g}, batch size "
        f"{configuration.batch_size}, {best.length} epochs: mean test loss {loss:.4g} over {seeds}; "
        f"{epochs:.1f} epochs in all"
    )
