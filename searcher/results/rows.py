"""Records to Arrow tables, and back: what goes in comes out equal (times are kept to the microsecond)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import pyarrow as pa

from searcher.records import (
    FULL_PRECISION,
    Configuration,
    EpochRecord,
    Kind,
    Record,
    Status,
    StepRecord,
    Trial,
    TrialRecord,
)
from searcher.results.schema import (
    CONFIGURATION_COLUMNS,
    EPOCHS,
    SCHEMA_VERSION,
    STEPS,
    SWEEPS,
    TRIALS,
    DataSet,
)

_CONFIGURATION = [column.name for column in CONFIGURATION_COLUMNS]
_TRIAL = ["trial_id", "configuration_id", "task", "kind", "seed", "length", "reason"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepRow:
    """What the results say of a sweep as a whole: the columns of `sweeps`, but those the store fills in."""

    name: str
    task: str
    text: str
    seeds: tuple[int, ...]
    resources: str
    train_size: int
    test_size: int
    holdout_size: int
    split_digest: str
    machine: str
    git_revision: str | None
    searcher_version: str
    torch_version: str
    ray_version: str
    python_version: str


def data_set_of(record: Record) -> DataSet:
    match record:
        case EpochRecord():
            return EPOCHS
        case StepRecord():
            return STEPS
        case TrialRecord():
            return TRIALS


def key_of(record: Record) -> tuple[str, int]:
    """The trial, and the epoch or step in it; a trial has one row of its own, which counts as number 0."""
    match record:
        case EpochRecord():
            return record.trial_id, record.epoch
        case StepRecord():
            return record.trial_id, record.step
        case TrialRecord():
            return record.trial_id, 0


def to_table(records: Sequence[Record], data_set: DataSet, schema: pa.Schema) -> pa.Table:
    """The records, all of one data set, as a table of the given schema, which may hold extra metrics."""
    extras = data_set.extras(schema)
    columns = []
    for field in schema:
        if field.name in extras:
            values = [record.extra.get(field.name) for record in records if isinstance(record, EpochRecord)]
        else:
            values = list(map(_getter(field.name, data_set), records))
        columns.append(_array(values, field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def sweep_table(row: SweepRow, *, status: str, created: float, finished: float | None) -> pa.Table:
    """The one row of a sweep. Times in seconds since the Unix epoch."""
    values = dataclasses.asdict(row)
    del values["name"]
    values |= {"status": status, "created": created, "finished": finished, "schema_version": SCHEMA_VERSION}
    schema = SWEEPS.schema()
    return pa.Table.from_arrays([_array([values[field.name]], field.type) for field in schema], schema=schema)


def to_records(table: pa.Table, data_set: DataSet, strategy: str) -> Iterator[Record]:
    """The records of one strategy's table; the inverse of `to_table`."""
    make = _MAKERS[data_set.name]
    extras = data_set.extras(table.schema)
    columns = [_values(table.column(name)) for name in table.column_names]
    for values in zip(*columns, strict=True):
        yield make(dict(zip(table.column_names, values, strict=True)), strategy, extras)


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with exactly the columns of the schema; one that it lacks becomes null."""
    columns = [
        table.column(field.name).cast(field.type)
        if field.name in table.column_names
        else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _getter(name: str, data_set: DataSet) -> Callable[[Any], Any]:
    if data_set is TRIALS and name in _TRIAL:
        return attrgetter(f"trial.{name}")
    if data_set is TRIALS and name in _CONFIGURATION:
        return attrgetter(f"trial.configuration.{name}")
    return attrgetter(name)


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    if not pa.types.is_timestamp(kind):
        return pa.array(values, kind)
    # 0 is how a record says that a time is unknown.
    return pa.array([round(value * 1e6) if value else None for value in values], pa.int64()).cast(kind)


def _values(column: pa.ChunkedArray) -> list[Any]:
    if not pa.types.is_timestamp(column.type):
        values: list[Any] = column.to_pylist()
        return values
    return [0.0 if value is None else value / 1e6 for value in column.cast(pa.int64()).to_pylist()]


def _epoch(row: Mapping[str, Any], strategy: str, extras: set[str]) -> EpochRecord:
    metrics = {name: row[name] for name in extras if row[name] is not None}
    fields = {name: value for name, value in row.items() if name not in extras}
    return EpochRecord(strategy=strategy, extra=metrics, **fields)


def _step(row: Mapping[str, Any], strategy: str, _: set[str]) -> StepRecord:
    return StepRecord(strategy=strategy, **row)


def _trial(row: Mapping[str, Any], strategy: str, _: set[str]) -> TrialRecord:
    fields = dict(row)
    configuration = {name: fields.pop(name) for name in _CONFIGURATION}
    if configuration["milestones"] is not None:
        configuration["milestones"] = tuple(configuration["milestones"])
    configuration["precision"] = configuration["precision"] or FULL_PRECISION
    identity = {name: fields.pop(name) for name in _TRIAL}
    trial = Trial(
        task=identity["task"],
        strategy=strategy,
        configuration=Configuration(**configuration),
        seed=identity["seed"],
        length=identity["length"],
        kind=Kind(identity["kind"]),
        reason=identity["reason"],
    )
    return TrialRecord(trial=trial, status=Status(fields.pop("status")), **fields)


_MAKERS: dict[str, Callable[[Mapping[str, Any], str, set[str]], Record]] = {
    "trials": _trial,
    "epochs": _epoch,
    "steps": _step,
}
