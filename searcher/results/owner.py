"""Whose a results folder is, so that nobody writes into another's by accident. No protection against intent."""

from __future__ import annotations

import pyarrow as pa

from searcher.errors import ResultsError
from searcher.results.storage import open_files

OWNER = ".searcher/owner"


def claim(root: str, owner: str) -> None:
    """Notes the owner of a results folder that has none.

    Args:
        root: the folder, or its address on object storage.
        owner: a user's name.

    Raises:
        ResultsError: the folder is another user's, or cannot be read or written.
    """
    files = open_files(root)
    try:
        try:
            known = files.read_bytes(OWNER).decode()
        except FileNotFoundError:
            files.write(OWNER, pa.py_buffer(owner.encode()))
            return
    except (OSError, pa.ArrowException) as error:
        raise ResultsError(f"results: {root} cannot be used: {error}") from error
    if known != owner:
        raise ResultsError(
            f"results: {root} belongs to {known}; choose a folder of your own, such as {root}-{owner}"
        )
