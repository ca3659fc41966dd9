"""Hyper-parameter search for neural networks, compared by what it costs.

    import searcher
    results = searcher.run(searcher.load_sweep("sweep.yaml"))     # or: searcher run sweep.yaml
    results = searcher.open_results("results")
    results.compare("digits")

The public names, nothing else; each is imported when it is first used, so that `import searcher` is fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from searcher.cluster.jobs import Job, submit
    from searcher.comparing import Compared, Results, open_results
    from searcher.errors import (
        ConfigurationError,
        ExecutionError,
        NothingFoundError,
        ResultsError,
        SearcherError,
        SweepError,
        SweepExistsError,
        TaskError,
    )
    from searcher.execution.scheduler import OverfitScheduler
    from searcher.explaining import Story, explain
    from searcher.finding import Found, find_lr
    from searcher.report import Report, write_report
    from searcher.study import run
    from searcher.sweep import Sweep, load_sweep, parse_sweep
    from searcher.training.data import stratified_split
    from searcher.training.tasks import Task, classification_accuracy

_HOME = {
    "Compared": "comparing",
    "ConfigurationError": "errors",
    "ExecutionError": "errors",
    "Found": "finding",
    "Job": "cluster.jobs",
    "NothingFoundError": "errors",
    "OverfitScheduler": "execution.scheduler",
    "Report": "report",
    "Results": "comparing",
    "ResultsError": "errors",
    "SearcherError": "errors",
    "Story": "explaining",
    "Sweep": "sweep",
    "SweepError": "errors",
    "SweepExistsError": "errors",
    "Task": "training.tasks",
    "TaskError": "errors",
    "classification_accuracy": "training.tasks",
    "explain": "explaining",
    "find_lr": "finding",
    "load_sweep": "sweep",
    "open_results": "comparing",
    "parse_sweep": "sweep",
    "run": "study",
    "stratified_split": "training.data",
    "submit": "cluster.jobs",
    "write_report": "report",
}

__all__ = [
    "Compared",
    "ConfigurationError",
    "ExecutionError",
    "Found",
    "Job",
    "NothingFoundError",
    "OverfitScheduler",
    "Report",
    "Results",
    "ResultsError",
    "SearcherError",
    "Story",
    "Sweep",
    "SweepError",
    "SweepExistsError",
    "Task",
    "TaskError",
    "classification_accuracy",
    "explain",
    "find_lr",
    "load_sweep",
    "open_results",
    "parse_sweep",
    "run",
    "stratified_split",
    "submit",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'searcher' has no attribute '{name}'")
    value = getattr(import_module(f"searcher.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
