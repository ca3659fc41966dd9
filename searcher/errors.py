"""Every error that `searcher` raises on purpose.

SearcherError                 one clear line for the user; the command line prints it and exits with 2
├── SweepError                the sweep file is wrong (also a ValueError): names the field
├── TaskError                 a task cannot be found, imported, or does not give what a task must give
├── ConfigurationError        a value that no training run can use (also a ValueError)
├── ExecutionError            Ray cannot be reached, or cannot run what was asked
└── ResultsError              the results folder cannot be read or written
    ├── SweepExistsError      a sweep of this name is already stored
    └── NothingFoundError     the results hold no such sweep, strategy or trial
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SearcherError(Exception):
    """Base of all; `str(error)` is one or more complete lines that a user can act on."""


class SweepError(SearcherError, ValueError):
    """The sweep file is wrong. Each line names the field, what it got and what would be right."""


class TaskError(SearcherError):
    """A task cannot be found, imported, or does not give what a task must give."""


class ConfigurationError(SearcherError, ValueError):
    """A hyper-parameter or an option out of its range: names it, its range and what it got."""


class ExecutionError(SearcherError):
    """Ray cannot be reached, or cannot run what was asked."""


class ResultsError(SearcherError):
    """The results folder cannot be read or written."""


class SweepExistsError(ResultsError):
    """A sweep of this name is already stored; say whether to resume or to overwrite it."""


class NothingFoundError(ResultsError):
    """The results hold no such sweep, strategy or trial."""


def nearest(word: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` with the nearest of the known words, or an empty text when none is near."""
    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean '{matches[0]}'?" if matches else ""
