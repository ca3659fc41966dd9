"""What a run on a cluster tells of itself, and what is shown of it here."""

import io
import json
import math

from rich.console import Console

from searcher.algorithms.strategies.base import Plan
from searcher.progress import Progress, StrategyProgress
from searcher.records import Status


def test_the_counts_survive_the_way_through_a_log() -> None:
    plan = Plan(trials=8, epochs=32.0, samples=4608, exact=False)
    counts = StrategyProgress(
        plan, trials=2, statuses={Status.COMPLETED: 1, Status.DIVERGED: 1}, finished_samples=900
    )
    counts.running["a"] = 100
    counts.best_loss, counts.best_accuracy = 0.25, 0.9
    restored = StrategyProgress.restored(json.loads(json.dumps(counts.snapshot())))
    assert (restored.plan, restored.trials, restored.statuses) == (plan, 2, counts.statuses)
    assert (restored.samples, restored.best_loss, restored.best_accuracy) == (1000, 0.25, 0.9)

    nothing = StrategyProgress.restored(json.loads(json.dumps(StrategyProgress(plan).snapshot())))
    assert math.isinf(nothing.best_loss)


def test_progress_elsewhere_is_shown_as_that_of_a_run_here() -> None:
    plan = Plan(trials=8, epochs=32.0, samples=4000, exact=True)
    half = StrategyProgress(plan, trials=4, statuses={Status.COMPLETED: 4}, finished_samples=2000, best_loss=0.5)
    progress = Progress(Console(file=io.StringIO()), name="digits")
    # 2,000 samples in 100 s, of which 1,000 stood before: the 2,000 that are left take 200 s.
    progress.show({"grid": half}, elapsed=100, before=1000)
    assert progress.line() == "digits 1:40, about 3:20 left: grid 4/8 trials, best test loss 0.5000"
    progress.end()
    assert progress.line() == "digits 1:40: grid 4/8 trials, best test loss 0.5000"


def test_nothing_is_told_before_it_is_known() -> None:
    grid = StrategyProgress(Plan(trials=8, epochs=32.0, samples=4000, exact=True))
    one_cycle = StrategyProgress(Plan(trials=5, epochs=9.0, samples=1000, exact=False))
    progress = Progress(Console(file=io.StringIO()), name="digits")
    progress.show({"grid": grid, "one_cycle": one_cycle}, elapsed=9, before=0)
    assert progress.line() == "digits 0:09: grid 0/8 trials; one_cycle 0/~5 trials"
    grid.running["a"] = 99  # of 5,000: too few to tell a speed from
    assert "left" not in progress.line()
    grid.running["a"] = 200
    assert "left" in progress.line()


def test_the_cost_is_set_against_the_plan_of_the_grid() -> None:
    grid = StrategyProgress(Plan(trials=8, epochs=32.0, samples=4000, exact=True), finished_samples=1000)
    one_cycle = StrategyProgress(Plan(trials=5, epochs=9.0, samples=1000, exact=False), finished_samples=100)
    for strategies, head, cost in (
        ({"grid": grid, "one_cycle": one_cycle}, "of grid's plan", "2.5%"),
        ({"one_cycle": one_cycle}, "of its plan", "10.0%"),
    ):
        progress = Progress(Console(file=(text := io.StringIO()), width=120), name="digits")
        progress.show(strategies, elapsed=9, before=0)
        progress.console.print(progress.render())
        assert head in text.getvalue()
        assert cost in text.getvalue()
