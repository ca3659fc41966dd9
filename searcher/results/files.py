"""The files of a results folder, wherever they lie: listed, read, and written, each as a whole."""

from __future__ import annotations

import builtins
import contextlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Protocol

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from searcher.errors import ResultsError
from searcher.results.layout import MERGES, merge_notes, new_merge_note


class Lock(Protocol):
    """The right to write one sweep."""

    def check(self) -> None:
        """Called before each writing. Raises ResultsError when the right was lost."""

    def release(self) -> None:
        """Gives the right back; that of a process that is killed ends as well."""


@dataclass(frozen=True, slots=True)
class Merge:
    """The new files hold the rows of the old ones."""

    old: list[str]
    new: list[str]

    def hidden(self, paths: set[str]) -> list[str]:
        """Which of these files a reader must leave out, so that it meets each row once."""
        return self.old if paths.issuperset(self.new) else self.new


class Files(ABC):
    """The files under one root, by their paths relative to it. Paths use `/`.

    A write is atomic: a reader finds the old content or the new, whole. Errors of the file system are OSError
    or ArrowException; the classes that use this one translate them.
    """

    def __init__(self, filesystem: pafs.FileSystem, root: str, shown: str) -> None:
        self.filesystem = filesystem
        self.root = root
        self.shown = shown

    def list(self, *folders: str) -> builtins.list[str]:
        """The Parquet files under these folders, at any depth, sorted; none where a folder is missing.

        Files that are just being merged are listed once: the old ones or the new. The merges are looked up
        after the files, so that a merge which began in between has at worst removed a file that is listed
        here; reading that one raises FileNotFoundError, and the reader lists again.
        """
        paths = {path for folder in folders for path in self._all(folder) if path.endswith(".parquet")}
        return sorted(paths.difference(*(merge.hidden(paths) for merge in self._merges(*folders).values())))

    def read(self, path: str, columns: builtins.list[str] | None = None) -> pa.Table:
        with self._open(path) as source:
            return pq.ParquetFile(source).read(columns=columns)

    def shape(self, path: str) -> tuple[int, pa.Schema]:
        """Number of rows, and schema; reads the file's footer alone."""
        with self._open(path) as source:
            file = pq.ParquetFile(source)
            return file.metadata.num_rows, file.schema_arrow

    def remove(self, path: str) -> None:
        self.filesystem.delete_file(f"{self.root}/{path}")

    def merge(self, folder: str, old: builtins.list[str], new: dict[str, pa.Buffer]) -> None:
        """Puts the new files in the place of the old ones of the same folder, which hold the same rows.

        A note of what replaces what is written first and removed last. Readers that know of it (`list`) meet
        each row once at every moment, and a crash is cleared up by `finish_merges`. A plain reader that lists
        the folder between the first new file and the last removal meets rows twice.
        """
        self.write(new_merge_note(folder), pa.py_buffer(json.dumps(asdict(Merge(old, [*new]))).encode()))
        for path, content in new.items():
            self.write(path, content)
        self.finish_merges(folder)

    def finish_merges(self, folder: str) -> None:
        """Ends, or undoes, the merges of this folder, or under it, that a crash has cut short."""
        for note, merge in self._merges(folder).items():
            present = set(self._all(merge.old[0].rpartition("/")[0]))
            for path in present.intersection(merge.hidden(present)):
                self.remove(path)
            self.remove(note)

    @abstractmethod
    def write(self, path: str, content: pa.Buffer) -> None:
        """Makes the file, or replaces it, at once and as a whole."""

    @abstractmethod
    def remove_folder(self, folder: str) -> None:
        """Removes a folder with everything in it, if it is there."""

    @abstractmethod
    def lock(self, sweep: str) -> Lock:
        """The right to write this sweep; clears what a killed writer left. ResultsError if it is taken."""

    def read_bytes(self, path: str) -> bytes:
        with self._open(path) as source:
            content: bytes = source.read()
        return content

    @contextlib.contextmanager
    def _open(self, path: str) -> Iterator[pa.NativeFile]:
        """Opens a file. Raises FileNotFoundError also if it goes away while it is read."""
        place = f"{self.root}/{path}"
        try:
            with self.filesystem.open_input_file(place) as source:
                yield source
        except OSError as error:
            if self.filesystem.get_file_info(place).type == pafs.FileType.NotFound:
                raise FileNotFoundError(f"{place} has gone away") from error
            raise

    def _all(self, folder: str) -> builtins.list[str]:
        selector = pafs.FileSelector(f"{self.root}/{folder}", recursive=True, allow_not_found=True)
        infos = self.filesystem.get_file_info(selector)
        return [info.path[len(self.root) + 1 :] for info in infos if info.type == pafs.FileType.File]

    def _merges(self, *folders: str) -> dict[str, Merge]:
        """The merges under these folders that are under way or were cut short, by their notes."""
        merges = {}
        wanted = tuple(map(merge_notes, folders))
        for note in self._all(MERGES):
            if not note.startswith(wanted):
                continue
            try:
                merges[note] = Merge(**json.loads(self.read_bytes(note)))
            except FileNotFoundError:
                continue  # the merge has ended since
            except (ValueError, TypeError) as error:
                raise ResultsError(f"{self.shown}/{note} cannot be read: {error}") from error
        return merges
