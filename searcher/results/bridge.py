"""Lets DuckDB read what pyarrow.fs reaches: it needs no extension and no credentials of its own."""

from __future__ import annotations

from datetime import UTC, datetime

import duckdb
import pyarrow.fs as pafs
from fsspec.implementations.arrow import ArrowFSWrapper  # type: ignore[import-untyped]

SCHEME = "results"


class _Bridge(ArrowFSWrapper):  # type: ignore[misc]
    protocol = SCHEME
    cachable = False

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return path.removeprefix(f"{SCHEME}://")

    def modified(self, path: str) -> datetime:
        """DuckDB asks, and not every file system knows; a file of results never changes under its name."""
        return datetime.fromtimestamp(0, UTC)


def register(connection: duckdb.DuckDBPyConnection, filesystem: pafs.FileSystem) -> str:
    """Makes the file system known to the connection; returns what paths in it begin with there."""
    connection.register_filesystem(_Bridge(filesystem))
    return f"{SCHEME}://"
