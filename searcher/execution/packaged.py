"""Where a job's own files are on this node: Ray unpacks them into another folder on each."""

from __future__ import annotations

import sys
from pathlib import Path

from searcher.errors import ExecutionError

MARK = ".searcher-package"
"""A file at the root of a package, by which the root is found wherever it was unpacked."""


def portable(folder: str | Path) -> str:
    """A folder as another node can find it: one in a package relative to its root, any other as it is."""
    path = Path(folder).resolve()
    for root in (path, *path.parents):
        if (root / MARK).is_file():
            return path.relative_to(root).as_posix()
    return str(path)


def on_this_node(folder: str) -> str:
    """What `portable` made, as a path of this node. Ray puts a package's root on the search path.

    Raises:
        ExecutionError: no package is on the search path.
    """
    if Path(folder).is_absolute():
        return folder
    for place in sys.path:
        if (Path(place) / MARK).is_file():
            return str(Path(place, folder).resolve())
    raise ExecutionError(f"the job's files are not on this node: no folder of {sys.path} holds {MARK}")
