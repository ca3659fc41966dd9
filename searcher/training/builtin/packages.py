"""What a task needs from outside: optional packages, and the folder in which data are kept between runs."""

from __future__ import annotations

import os
from pathlib import Path

from searcher.errors import TaskError

FOLDER_VARIABLE = "SEARCHER_DATA"


def missing(package: str) -> TaskError:
    """The error that says which package to install."""
    return TaskError(f"it needs {package}: pip install 'searcher[experiments]', or pip install {package}")


def data_folder() -> Path:
    """Where data sets are kept: `$SEARCHER_DATA`, else `searcher` in the user's cache folder. May not exist yet."""
    if given := os.environ.get(FOLDER_VARIABLE):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "searcher")
