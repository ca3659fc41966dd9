"""Tries whether a results folder can be written from a node, and whether another node sees what was written."""

from __future__ import annotations

import secrets

import pyarrow as pa

from searcher.results.storage import open_files


def write_probe(root: str, mark: str) -> tuple[str, str]:
    """Writes a small file of one's own and reads it again.

    Args:
        mark: names the examination, so that several can be told apart.

    Returns:
        What failed, empty if nothing did, and the file's path.
    """
    place = f"{_folder(mark)}/{secrets.token_hex(4)}"
    content = secrets.token_bytes(8)
    try:
        files = open_files(root)
        files.write(place, pa.py_buffer(content))
        return "" if files.read_bytes(place) == content else "reads something else than it wrote", place
    except Exception as error:  # every storage has errors of its own
        return f"{type(error).__name__}: {str(error).splitlines()[0]}", ""


def sees_probe(root: str, place: str) -> bool:
    """Whether this node sees what another wrote."""
    try:
        return bool(open_files(root).read_bytes(place))
    except OSError:
        return False


def clear_probes(root: str, mark: str) -> None:
    """Removes what this node sees of an examination."""
    open_files(root).remove_folder(_folder(mark))


def _folder(mark: str) -> str:
    return f".searcher/doctor/sweep={mark}"
