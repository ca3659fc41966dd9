"""Every column that is stored: its type, what it means and its unit. The only place that declares one.

A data set is a folder of Parquet files, partitioned as `sweep=<name>/strategy=<label>/`. The partition keys
stand in the folder names and not in the files; every reader that knows hive partitioning gives them back as
columns. Descriptions and units are stored in each file as metadata of its Arrow fields, the schema version as
metadata of the file. A metric of a task that is not declared here gets a column of its own, of type float64.

Losses are means per sample in the task's own unit; accuracies and fractions run from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

SCHEMA_VERSION = 1
"""Counts changes of meaning or type. A new column needs no new version: where it lacks, it reads as null."""

VERSION_KEY = b"searcher_schema_version"

_TEXT = pa.string()
_FLOAT = pa.float64()
_COUNT = pa.int64()
_NUMBER = pa.int32()
_TIME = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `unit` is empty for what has none: a text, a ratio, a fraction."""

    name: str
    type: pa.DataType
    description: str
    unit: str = ""

    @property
    def field(self) -> pa.Field:
        return pa.field(self.name, self.type, metadata={"description": self.description, "unit": self.unit})


@dataclass(frozen=True, slots=True)
class DataSet:
    """One folder of files.

    Attributes:
        partitions: the columns that stand in the folder names.
        columns: the columns of each file, in order.
        key: the columns that identify a row within a partition; files are sorted by them.
    """

    name: str
    description: str
    partitions: tuple[Column, ...]
    columns: tuple[Column, ...]
    key: tuple[str, ...]

    def schema(self, extra: Iterable[str] = ()) -> pa.Schema:
        """The Arrow schema of a file that also holds the metrics named in `extra`."""
        metrics = [Column(name, _FLOAT, "a metric of the task") for name in sorted(extra)]
        fields = [column.field for column in (*self.columns, *metrics)]
        return pa.schema(fields, metadata={VERSION_KEY: str(SCHEMA_VERSION)})

    @property
    def names(self) -> list[str]:
        """All declared columns, partitions first."""
        return [column.name for column in (*self.partitions, *self.columns)]

    def extras(self, schema: pa.Schema) -> set[str]:
        """The columns of a stored file that are not declared: the task's own metrics."""
        return set(schema.names) - set(self.names)


_SWEEP = Column("sweep", _TEXT, "name of the sweep")
_STRATEGY = Column("strategy", _TEXT, "label of the strategy that proposed the trial")
_TRIAL_ID = Column("trial_id", _TEXT, "hash of task, kind, configuration, seed and length")

CONFIGURATION_COLUMNS = (
    Column("lr", _FLOAT, "largest learning rate of the run"),
    Column("momentum", _FLOAT, "largest momentum (SGD) or largest first beta (AdamW)"),
    Column("weight_decay", _FLOAT, "L2 penalty (SGD) or decoupled decay (AdamW)"),
    Column("batch_size", _COUNT, "samples in one optimizer step", "samples"),
    Column("schedule", _TEXT, "learning-rate schedule"),
    Column("optimizer", _TEXT, "sgd or adamw"),
    Column("precision", _TEXT, "32-true or bf16-mixed (automatic mixed precision); null in older files: 32-true"),
    Column("momentum_schedule", _TEXT, "constant, cyclical, decreasing or increasing"),
    Column("momentum_low", _FLOAT, "smallest momentum of a schedule that is not constant"),
    Column("div_factor", _FLOAT, "the run starts at lr / div_factor"),
    Column("final_div_factor", _FLOAT, "a 1cycle run ends at its starting rate divided by this"),
    Column("annihilation", _FLOAT, "fraction of a 1cycle run that is its last, falling phase"),
    Column("cycles", _COUNT, "triangles of a cyclical schedule"),
    Column("gamma", _FLOAT, "factor at each milestone, or over the whole run"),
    Column("milestones", pa.list_(_FLOAT), "fractions of the run at which the rate is multiplied by gamma"),
)

SWEEPS = DataSet(
    name="sweeps",
    description="one row for each sweep: what was asked for, and where it came from",
    partitions=(_SWEEP,),
    columns=(
        Column("task", _TEXT, "the task, as the sweep file names it"),
        Column("status", _TEXT, "running, completed, interrupted or failed; running also if it was killed"),
        Column("created", _TIME, "when the sweep was first started"),
        Column("finished", _TIME, "when it ended; null while it runs"),
        Column("text", _TEXT, "the sweep file, as it was run"),
        Column("seeds", pa.list_(_COUNT), "the seeds of the sweep"),
        Column("resources", _TEXT, "what each trial asked for, as JSON"),
        Column("train_size", _COUNT, "size of the train split", "samples"),
        Column("test_size", _COUNT, "size of the test split", "samples"),
        Column("holdout_size", _COUNT, "size of the holdout split", "samples"),
        Column("split_digest", _TEXT, "equal for sweeps that trained and tested on the same splits"),
        Column("machine", _TEXT, "the machine that the sweep was started on"),
        Column("git_revision", _TEXT, "commit of the code of the task; null outside a repository"),
        Column("searcher_version", _TEXT, "version of searcher"),
        Column("torch_version", _TEXT, "version of torch"),
        Column("ray_version", _TEXT, "version of ray"),
        Column("python_version", _TEXT, "version of Python"),
        Column("schema_version", _NUMBER, "version of this schema that the sweep was written with"),
    ),
    key=(),
)

TRIALS = DataSet(
    name="trials",
    description="one row for each trial that ended: what it was, how it ended, what it cost",
    partitions=(_SWEEP, _STRATEGY),
    columns=(
        _TRIAL_ID,
        Column("configuration_id", _TEXT, "like trial_id, but the same for all seeds"),
        Column("task", _TEXT, "the task, as the sweep file names it"),
        Column("kind", _TEXT, "train (a training run), range_test (of the learning rate) or batch_probe"),
        Column("seed", _COUNT, "seed of weights, data order and dropout"),
        Column("length", _COUNT, "length asked for: epochs of a training run, steps of a range test or probe"),
        Column("reason", _TEXT, "why the strategy proposed the trial"),
        *CONFIGURATION_COLUMNS,
        Column("status", _TEXT, "completed, stopped_overfit, pruned, diverged, failed or interrupted"),
        Column("status_reason", _TEXT, "why the trial ended so"),
        Column("best_epoch", _NUMBER, "the epoch with the lowest test loss; counts from 1", "epoch"),
        Column("best_test_loss", _FLOAT, "test loss of the best epoch"),
        Column("best_test_accuracy", _FLOAT, "test accuracy of the best epoch"),
        Column("last_train_loss", _FLOAT, "train loss of the last epoch"),
        Column("last_test_loss", _FLOAT, "test loss of the last epoch"),
        Column("last_test_accuracy", _FLOAT, "test accuracy of the last epoch"),
        Column(
            "holdout_loss",
            _FLOAT,
            "loss on the holdout split with the weights of the best epoch; not of a pruned trial",
        ),
        Column("holdout_accuracy", _FLOAT, "accuracy on the holdout split with the weights of the best epoch"),
        Column("epochs", _NUMBER, "epochs trained", "epochs"),
        Column("steps", _COUNT, "optimizer steps taken", "steps"),
        Column("samples", _COUNT, "training samples processed: the cost", "samples"),
        Column("seconds", _FLOAT, "time that the trial occupied its device", "s"),
        Column("energy", _FLOAT, "energy that its share of the GPU drew; null where NVML does not tell", "J"),
        Column("device", _TEXT, "cpu, or the name of the GPU"),
        Column("node", _TEXT, "host that trained it"),
        Column("started", _TIME, "when the trial started; null if unknown"),
        Column("finished", _TIME, "when the trial ended; null if unknown"),
    ),
    key=("trial_id",),
)

EPOCHS = DataSet(
    name="epochs",
    description="one row for each epoch of each trial: its curves; further metrics of the task follow",
    partitions=(_SWEEP, _STRATEGY),
    columns=(
        _TRIAL_ID,
        Column("epoch", _NUMBER, "epoch within the trial; counts from 1", "epoch"),
        Column("step", _COUNT, "optimizer steps of the trial so far", "steps"),
        Column("samples", _COUNT, "training samples that the trial has processed so far", "samples"),
        Column("seconds", _FLOAT, "time that the trial has occupied its device so far", "s"),
        Column("train_loss", _FLOAT, "mean over the epoch's mini-batches, as trained"),
        Column("test_loss", _FLOAT, "loss on the test split after the epoch"),
        Column("test_accuracy", _FLOAT, "accuracy on the test split; null for a task that has none"),
        Column("lr", _FLOAT, "learning rate of the epoch's last step"),
        Column("momentum", _FLOAT, "momentum of the epoch's last step"),
        Column("lr_left", _FLOAT, "largest rate still to come, as a fraction of this epoch's lr"),
        Column("lr_low", _FLOAT, "smallest rate still to come, as a fraction of this epoch's lr"),
        Column("time", _TIME, "when the epoch ended"),
    ),
    key=("trial_id", "epoch"),
)

STEPS = DataSet(
    name="steps",
    description="one row for each optimizer step of each range test, and for each batch size of each probe",
    partitions=(_SWEEP, _STRATEGY),
    columns=(
        _TRIAL_ID,
        Column("step", _COUNT, "optimizer step within the trial; counts from 1", "step"),
        Column("samples", _COUNT, "training samples processed by the trial so far", "samples"),
        Column("lr", _FLOAT, "learning rate of the step"),
        Column("momentum", _FLOAT, "momentum of the step"),
        Column("train_loss", _FLOAT, "loss of the step's mini-batch, before its update"),
        Column("test_loss", _FLOAT, "loss on the test split, where it was measured"),
        Column("batch_size", _COUNT, "size that a batch probe tried; null in a range test", "samples"),
        Column("seconds", _FLOAT, "time of one step at that size; null where it ran out of memory", "s"),
        Column("memory", _FLOAT, "largest fraction of the device's memory in use; null if unknown"),
    ),
    key=("trial_id", "step"),
)

DATA_SETS = {data_set.name: data_set for data_set in (SWEEPS, TRIALS, EPOCHS, STEPS)}
