"""The story of a stored sweep, and a method that is rebuilt from what is stored."""

from dataclasses import replace
from pathlib import Path

import pytest
from algorithms.made_up import Made, play, strategy
from results.result_examples import sweep_row

from searcher.errors import NothingFoundError
from searcher.explaining import explain
from searcher.results.store import Store, read_history

SWEEP = """
name: made
task: digits
epochs: 60
seeds: [0, 1, 2]
strategies:
  - grid: {lr: 0.1, batch_size: 8, schedule: step}
  - one_cycle: {batch_size: 50}
"""


def stored(root: Path, trials: int) -> None:
    """The first trials of the method, as a sweep that was killed leaves them."""
    row = sweep_row("made", text=SWEEP, seeds=(0, 1, 2), train_size=1000)
    with Store(root).begin(row) as writer:
        for number, trial in enumerate(play(strategy(), Made())[1][:trials], start=1):
            records = Made().measure(trial)
            writer.write(records[:-1])
            writer.write([replace(records[-1], started=float(number), finished=number + 0.5)])


@pytest.mark.parametrize("cut", [0, 1, 4, 7])
def test_after_a_kill_the_stored_history_gives_the_same_proposals(tmp_path: Path, cut: int) -> None:
    _, trials = play(strategy(), Made())
    stored(tmp_path, cut)
    history = read_history(tmp_path, "made", ["one_cycle"])["one_cycle"]
    rest = []
    method = strategy()
    while proposed := method.propose(history, 1):
        Made().finish(history, proposed[0])
        rest += proposed
    assert {trial.trial_id for trial in rest} == {trial.trial_id for trial in trials[cut:]}
    assert {trial.reason for trial in rest} == {trial.reason for trial in trials[cut:]}


def test_the_story_names_every_trial_why_it_was_tried_what_it_gave_and_its_cost(tmp_path: Path) -> None:
    _, trials = play(strategy(), Made())
    stored(tmp_path, len(trials))
    (story,) = explain("made", str(tmp_path))
    assert [step.why for step in story.steps] == [trial.reason for trial in trials]
    assert story.steps[-1].total == pytest.approx(sum(step.epochs for step in story.steps))
    text = story.text()
    assert "range test, weight decay 0.001, seed 0, 24 steps" in text
    assert "usable up to" in text
    assert "under-fitting: in the last quarter the test loss still fell" in text
    assert f"chosen: peak {trials[-1].configuration.lr:g}" in text
    assert "over 3 seeds" in text


def test_a_strategy_that_is_not_there_is_named(tmp_path: Path) -> None:
    stored(tmp_path, 1)
    with pytest.raises(NothingFoundError, match=r"no strategy 'one'; its strategies are grid, one_cycle"):
        explain("made", str(tmp_path), "one")
    with pytest.raises(NothingFoundError, match="'grid' has measured nothing yet"):
        explain("made", str(tmp_path), "grid")
