"""Where files of results lie: reads, lists, and writes them so that no reader ever sees half of one."""

from __future__ import annotations

import builtins
import contextlib
import fcntl
import os
import secrets
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from searcher.errors import ResultsError
from searcher.results.layout import LOCKS, TEMPORARY
from searcher.results.schema import DataSet


class Lock(Protocol):
    """The right to write one sweep."""

    def check(self) -> None:
        """Called now and then while it is held. Raises ResultsError when another process has taken it."""

    def release(self) -> None:
        """Gives the right back; a process that is killed gives it back as well."""


class Files(ABC):
    """The files under one root, by their paths relative to it. Paths use `/`.

    A write is atomic: a reader finds the old content or the new, whole. Errors of the file system are OSError
    or ArrowException; the classes that use this one translate them.
    """

    def __init__(self, filesystem: pafs.FileSystem, root: str, shown: str) -> None:
        self.filesystem = filesystem
        self.root = root
        self.shown = shown

    def list(self, folder: str) -> builtins.list[str]:
        """The Parquet files under a folder, at any depth, sorted; none if the folder is missing."""
        selector = pafs.FileSelector(f"{self.root}/{folder}", recursive=True, allow_not_found=True)
        infos = self.filesystem.get_file_info(selector)
        paths = [info.path for info in infos if info.type == pafs.FileType.File]
        return sorted(path[len(self.root) + 1 :] for path in paths if path.endswith(".parquet"))

    def read(self, path: str, columns: builtins.list[str] | None = None) -> pa.Table:
        with self.filesystem.open_input_file(f"{self.root}/{path}") as source:
            return pq.ParquetFile(source).read(columns=columns)

    def read_schema(self, path: str) -> pa.Schema:
        with self.filesystem.open_input_file(f"{self.root}/{path}") as source:
            return pq.ParquetFile(source).schema_arrow

    def remove(self, path: str) -> None:
        self.filesystem.delete_file(f"{self.root}/{path}")

    @abstractmethod
    def write(self, path: str, content: pa.Buffer) -> None:
        """Makes the file, or replaces it, at once and as a whole."""

    @abstractmethod
    def remove_folder(self, folder: str) -> None:
        """Removes a folder with everything in it, if it is there."""

    @abstractmethod
    def lock(self, sweep: str) -> Lock:
        """The right to write this sweep; clears what a killed writer left. ResultsError if it is taken."""


def open_files(root: str | Path) -> Files:
    """The files under a local folder. Raises ResultsError for an address that cannot be understood."""
    return LocalFiles(Path(root))


def encode(table: pa.Table, data_set: DataSet) -> pa.Buffer:
    """The table as a Parquet file, sorted by the data set's key: zstd, dictionaries for texts, statistics."""
    if data_set.key:
        table = table.sort_by([(name, "ascending") for name in data_set.key])
    texts = [field.name for field in table.schema if pa.types.is_string(field.type)]
    positions = [table.schema.get_field_index(name) for name in data_set.key]
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        compression="zstd",
        use_dictionary=texts,
        write_statistics=True,
        sorting_columns=[pq.SortingColumn(position) for position in positions] or None,
        row_group_size=ROW_GROUP,
    )
    return sink.getvalue()


ROW_GROUP = 131_072
"""Rows in a row group: what a reader skips, or reads, as a whole."""


class LocalFiles(Files):
    """A local folder, or one on a network file system that knows `rename` and `flock`.

    A file is written under a temporary name beside the data sets, brought to disk, and renamed to its place.
    """

    def __init__(self, root: Path) -> None:
        self._folder = root.expanduser().absolute()
        super().__init__(pafs.LocalFileSystem(), self._folder.as_posix(), str(root))

    def write(self, path: str, content: pa.Buffer) -> None:
        target = self._folder / path
        with self._temporary(path) as temporary:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.replace(target)

    def remove_folder(self, folder: str) -> None:
        # Renamed away first, so that a reader meets all of it or nothing.
        if (self._folder / folder).exists():
            with self._temporary(folder) as temporary:
                (self._folder / folder).rename(temporary)
                shutil.rmtree(temporary)

    def lock(self, sweep: str) -> Lock:
        lock = FileLock(self._folder / LOCKS / f"{sweep}.lock", sweep)
        shutil.rmtree(self._temporaries(sweep), ignore_errors=True)
        return lock

    def _temporaries(self, sweep: str) -> Path:
        return self._folder / TEMPORARY / sweep

    @contextlib.contextmanager
    def _temporary(self, path: str) -> Iterator[Path]:
        """A new name in a folder of this sweep's own, which only the holder of its lock clears."""
        sweep = next(part for part in Path(path).parts if part.startswith("sweep=")).removeprefix("sweep=")
        temporary = self._temporaries(sweep) / secrets.token_hex(8)
        temporary.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)


class FileLock:
    """An advisory lock on a file (flock); the operating system releases it when its process ends, anyhow."""

    def __init__(self, path: Path, sweep: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: Any = path.open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            owner = self._file.read().strip() or "another process"
            self._file.close()
            raise ResultsError(f"sweep '{sweep}' is being written by {owner}; wait until it ends") from None
        self._file.truncate(0)
        self._file.write(f"process {os.getpid()} on {os.uname().nodename}\n")
        self._file.flush()

    def check(self) -> None:
        """Nothing to do: nobody can take a held flock over."""

    def release(self) -> None:
        self._file.close()
