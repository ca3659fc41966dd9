"""`searcher replay`: recorded curves, of our results or of anyone's file, under stopping rules side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from searcher.algorithms.replay import ORDERS, RESAMPLES, WORKERS, Curve, Judge, Outcome, RuleJudge, replay
from searcher.algorithms.stopping import RULES, Observation, rule_from
from searcher.comparing import open_results
from searcher.errors import NothingFoundError, ResultsError, nearest

if TYPE_CHECKING:
    import pandas as pd

NEEDED = ("trial", "epoch", "train_loss", "test_loss")
RATES = ("lr", "lr_left", "lr_low")
ALONE = {"rule": "default", "hopeless": None}
"""The default rule as `searcher run` asks it: each trial by itself."""

Spec = str | Mapping[str, Any]


def read_curves(source: str | Path, results: str | Path = "results") -> list[Curve]:
    """The full curves of a stored sweep, or of a Parquet or CSV file.

    A file needs the columns trial, epoch, train_loss and test_loss; it may have lr, lr_left and lr_low, where
    without the latter two they follow from the rates that were recorded, and test_accuracy or holdout_accuracy.
    An epoch without one of the losses is passed over if the trial has both later: it was not measured there.
    Of a stored sweep only trials that ran to their end are taken: of the others nobody knows how they go on.

    Raises:
        ResultsError: the file cannot be read, a column is missing or holds what is not a number, or a trial
            has an epoch twice.
        NothingFoundError: no such sweep, or no full curve in it.
    """
    path = Path(source)
    if path.suffix in (".parquet", ".csv"):
        return curves_from(_read(path), str(path))
    stored = open_results(results)
    trials = stored.trials(sweep=str(source), columns=["trial_id", "kind", "status"])
    done = trials[(trials["status"] == "completed") & (trials["kind"] == "train")]
    epochs = stored.epochs(sweep=str(source)).rename(columns={"trial_id": "trial"})
    epochs = epochs[epochs["trial"].isin(done["trial_id"])]
    if epochs.empty:
        raise NothingFoundError(f"sweep '{source}': no trial ran to its end; run it with stop: {{overfit: off}}")
    return curves_from(epochs, f"sweep '{source}'")


def curves_from(frame: pd.DataFrame, name: str = "curves") -> list[Curve]:
    """The curves of a data frame, see `read_curves`."""
    for column in NEEDED:
        if column not in frame:
            known = ", ".join(map(str, frame.columns))
            raise ResultsError(
                f"{name}: no column '{column}'; it has {known}.{nearest(column, map(str, frame.columns))}"
            )
    if frame.empty:
        raise NothingFoundError(f"{name}: holds no curve")
    frame = _checked(frame.reset_index(drop=True), name)
    accuracy = next((c for c in ("holdout_accuracy", "test_accuracy") if c in frame), None)
    return [_curve(str(trial), rows, accuracy) for trial, rows in frame.groupby("trial", sort=True)]


def _checked(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """Numbers where numbers belong, each epoch of a trial once; epochs that count from 0 then count from 1."""
    accuracies = ("test_accuracy", "holdout_accuracy")
    for column in (c for c in (*NEEDED[1:], *RATES, *accuracies) if c in frame):
        if frame[column].dtype.kind not in "fiu":
            raise ResultsError(f"{name}: column '{column}' holds {frame[column].dtype}, not numbers")
        frame[column] = frame[column].astype(float)
    epochs = frame["epoch"]
    wrong = {
        "trial": (frame["trial"].isna(), "a trial's name or number"),
        "epoch": (~(np.isfinite(epochs) & (epochs >= 0) & (epochs % 1 == 0)), "a whole number of at least 0"),
    }
    for column in (c for c in RATES if c in frame):
        if frame[column].isna().all():
            del frame[column]
        else:
            rates = frame[column]
            wrong[column] = (~(np.isfinite(rates) & (rates >= 0)), "a number of at least 0 in every row or in none")
    for column, (rows, expected) in wrong.items():
        if rows.any():
            got = frame[column][rows].iloc[0]
            raise ResultsError(f"{name}: column '{column}' must be {expected}, row {rows.argmax() + 1} has {got}")
    twice = frame.duplicated(["trial", "epoch"])
    if twice.any():
        trial, epoch = frame["trial"][twice].iloc[0], epochs[twice].iloc[0]
        raise ResultsError(f"{name}: trial {trial} must have each epoch once, it has epoch {epoch:.0f} twice")
    for column in ("train_loss", "test_loss"):
        if not np.isfinite(frame[column]).any():
            raise NothingFoundError(f"{name}: no value of column '{column}' is a finite number")
    frame["epoch"] = epochs + (epochs.min() == 0)
    return _measured(frame.sort_values(["trial", "epoch"]))


def _measured(frame: pd.DataFrame) -> pd.DataFrame:
    """Without the epochs at which a loss was not measured: it is missing there, and the trial has both later."""
    missing = frame[["train_loss", "test_loss"]].isna().any(axis=1)
    last = frame["epoch"].where(~missing).groupby(frame["trial"]).transform("max")
    return frame[~(missing & (frame["epoch"] < last))]


def judge_from(spec: Spec, epochs: int) -> Callable[[], Judge]:
    """Makes judges of a rule of ours or of a peer's: a name, or `{rule: NAME, ...}` with its parameters.

    Raises:
        ConfigurationError: no such rule or parameter.
    """
    parameters = {"rule": spec} if isinstance(spec, str) else dict(spec)
    name = str(parameters.get("rule", "default"))
    if not name.startswith(("tune_", "optuna_")):
        rule = rule_from(spec)
        return lambda: RuleJudge(rule)
    from searcher.execution.peers import peer_from  # late: imports Ray

    del parameters["rule"]
    return peer_from(name, parameters, epochs)


def every_rule() -> list[Spec]:
    """All rules of ours, the default also with each trial by itself, and all peers, with their usual parameters."""
    from searcher.execution.peers import PEERS

    ours = [name for name in RULES if name != "off"]
    return [ours[0], ALONE, *ours[1:], *PEERS]


def replay_table(
    curves: Sequence[Curve],
    specs: Sequence[Spec],
    *,
    workers: int = WORKERS,
    orders: int = ORDERS,
    resamples: int = RESAMPLES,
) -> pd.DataFrame:
    """One row for each rule, see `searcher.algorithms.replay.Outcome`; with the ends of the 95 % intervals."""
    import pandas as pd

    epochs = max(len(curve.observations) for curve in curves)
    makers = [judge_from(spec, epochs) for spec in specs]
    rows = [
        _row(spec, replay(curves, make, workers=workers, orders=orders, resamples=resamples))
        for spec, make in zip(specs, makers, strict=True)
    ]
    return pd.DataFrame(rows)


def told(spec: Spec) -> str:
    """A rule in a few words."""
    if isinstance(spec, str):
        return spec
    parameters = {key: value for key, value in spec.items() if key != "rule"}
    words = ", ".join(f"{key} {'none' if value is None else value}" for key, value in parameters.items())
    return f"{spec.get('rule', 'default')} ({words})" if words else str(spec.get("rule", "default"))


def _row(spec: Spec, outcome: Outcome) -> dict[str, Any]:
    row: dict[str, Any] = {"rule": told(spec)}
    for name in ("saved", "loss_regret", "accuracy_regret"):
        share = getattr(outcome, name)
        row |= {name: share.value, f"{name}_low": share.low, f"{name}_high": share.high}
    return {**row, "winner_stopped": outcome.winner_stopped}


def _read(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    except FileNotFoundError:
        raise ResultsError(f"{path}: there is no such file") from None
    except (ValueError, OSError) as error:
        raise ResultsError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from error


def _curve(trial: str, rows: pd.DataFrame, accuracy: str | None) -> Curve:
    columns = {name: rows[name].to_numpy(float) for name in (*NEEDED[2:], *RATES) if name in rows}
    if "lr" in columns and not {"lr_left", "lr_low"} <= set(columns):
        columns |= _to_come(columns["lr"])
    present = {name: values.tolist() for name, values in columns.items()}
    names = [name for name in (*NEEDED[2:], *RATES) if name in present]
    observations = tuple(
        Observation(epoch=epoch, **dict(zip(names, values, strict=True)))
        for epoch, *values in zip(rows["epoch"].astype(int).tolist(), *(present[n] for n in names), strict=True)
    )
    return Curve(trial, observations, () if accuracy is None else tuple(rows[accuracy].tolist()))


def _to_come(lr: np.ndarray) -> dict[str, np.ndarray]:
    """The largest and the smallest rate after each report, as fractions of that in it; 0 after the last."""
    later = lr[::-1]
    highest = np.append(np.maximum.accumulate(later)[::-1][1:], 0.0)
    lowest = np.append(np.minimum.accumulate(later)[::-1][1:], 0.0)
    safe = np.where(lr > 0, lr, 1.0)
    return {"lr_left": highest / safe, "lr_low": lowest / safe}
