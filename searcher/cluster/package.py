"""What is sent with a sweep: the folder that its task is in, and this `searcher`.

`searcher` itself is sent, and not expected on the cluster: then a sweep means there exactly what it means here, and
nobody rebuilds images for a new release. What it needs (Ray, torch, pyarrow, …) must be there; the job's first step
says what is not.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path

import pathspec

import searcher
from searcher.errors import ExecutionError, TaskError
from searcher.execution.packaged import MARK

LIMIT = 100 * 2**20
"""Bytes of an upload above which Ray's dashboard answers 413, whatever its client's own limit is."""

EXCLUDED = (
    ".git/", ".hg/", ".svn/", "__pycache__/", "*.pyc", ".venv/", "venv/", ".tox/", "node_modules/", ".*_cache/",
    "*.egg-info/", ".ipynb_checkpoints/", ".idea/", ".vscode/", ".DS_Store", ".env", ".ray/", "auth_token",
)  # fmt: skip
"""Never task code, or a secret; in the language of .gitignore."""

IGNORE_FILES = (".gitignore", ".searcherignore")
"""Read in each folder, the second to leave out what version control keeps, such as large data."""


@dataclass(frozen=True)
class Packed:
    """A package that was written.

    Attributes:
        archive: the zip file.
        module: the folder of this `searcher`, to be sent as a Python module.
        sweep_folder: where the sweep file stood, relative to the packed folder.
        digest: of the archive.
    """

    archive: Path
    module: Path
    digest: str


def pack(folder: Path, sweep_text: str, sweep_folder: Path, target: Path, task: str = "") -> Packed:
    """Writes a package; the same files give the same bytes, so that the cluster knows a package it has.

    Args:
        folder: what is packed.
        sweep_text: the sweep, with its overrides, as a sweep file.
        sweep_folder: where the sweep file stands, in the folder: a task's relative path starts from there.
        target: an empty folder for what is made.
        task: the sweep's; a file that it names must be sent.

    Raises:
        ExecutionError: the sweep file or the task's is not in the folder, or the package is too large.
        TaskError: the task's file is not there, or is left out.
    """
    folder, sweep_folder = folder.resolve(), sweep_folder.resolve()
    if not sweep_folder.is_relative_to(folder):
        raise ExecutionError(f"--working-dir: {folder} does not hold the sweep file's folder {sweep_folder}")
    relative = sweep_folder.relative_to(folder).as_posix()
    archive = target / "package.zip"
    sizes: dict[str, int] = {}
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as zipped:
        _add(zipped, MARK, json.dumps({"sweep_folder": relative}).encode())
        _add(zipped, f"{MARK}.sweep.yaml", sweep_text.encode())
        for path in packed_files(folder):
            name = path.relative_to(folder).as_posix()
            _add(zipped, name, path.read_bytes(), executable=os.access(path, os.X_OK))
            sizes[name] = zipped.getinfo(name).compress_size
            if sum(sizes.values()) > LIMIT:
                raise ExecutionError(_too_large(folder, sizes))
    _check_sent(task, folder, sweep_folder, sizes)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    return Packed(archive, own_module(target), digest)


def _check_sent(task: str, folder: Path, sweep_folder: Path, sent: Container[str]) -> None:
    place, _, _ = task.rpartition(":")
    if not place.endswith(".py") or Path(place).is_absolute():  # the latter is a file of the cluster's
        return
    path = Path(os.path.normpath(sweep_folder / place))
    if not path.is_file():
        raise TaskError(f"task: '{task}': there is no file {path}")
    if not path.is_relative_to(folder):
        raise ExecutionError(f"--working-dir: {folder} does not hold the task's file {path}")
    if path.relative_to(folder).as_posix() not in sent:
        raise TaskError(f"task: '{task}': {path} is not sent: see the {' and '.join(IGNORE_FILES)} of its folders")


def packed_files(folder: Path) -> Iterator[Path]:
    """The files that are sent: all but those that `EXCLUDED` or an ignore file names, virtual environments,
    folders of results, the file of the token, and links that lead out of the folder."""
    spec = pathspec.GitIgnoreSpec.from_lines(EXCLUDED)
    yield from _walk(folder, folder, [(folder, spec)], _token_file())


def _walk(
    root: Path, folder: Path, specs: list[tuple[Path, pathspec.GitIgnoreSpec]], token: Path
) -> Iterator[Path]:
    lines = [line for name in IGNORE_FILES if (file := folder / name).is_file() for line in _lines(file)]
    if lines:
        specs = [*specs, (folder, pathspec.GitIgnoreSpec.from_lines(lines))]
    for entry in sorted(folder.iterdir()):
        inside = entry.is_dir()
        if _ignored(entry, specs, inside) or (inside and _is_environment_or_results(entry)):
            continue
        if inside and not entry.is_symlink():
            yield from _walk(root, entry, specs, token)
        elif entry.is_file() and entry.resolve() != token and entry.resolve().is_relative_to(root):
            yield entry


def _ignored(entry: Path, specs: list[tuple[Path, pathspec.GitIgnoreSpec]], inside: bool) -> bool:
    """As git decides: the last pattern that matches, in the deepest file that has one."""
    for base, spec in reversed(specs):
        name = entry.relative_to(base).as_posix() + ("/" if inside else "")
        if (found := spec.check_file(name).include) is not None:
            return found
    return False


def _is_environment_or_results(folder: Path) -> bool:
    return (folder / "pyvenv.cfg").exists() or ((folder / "trials").is_dir() and (folder / "sweeps").is_dir())


def _token_file() -> Path:
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser().resolve()


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8", errors="replace").splitlines()


def _add(zipped: zipfile.ZipFile, name: str, content: bytes, executable: bool = False) -> None:
    info = zipfile.ZipInfo(name)  # with the earliest date there is, so that a date changes nothing
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = (0o755 if executable else 0o644) << 16
    zipped.writestr(info, content)


def own_module(target: Path) -> Path:
    """A copy of this `searcher` in a folder, to be sent as a Python module."""
    package = Path(searcher.__file__).parent
    module = target / "searcher"
    shutil.copytree(package, module, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    return module


def _too_large(folder: Path, sizes: dict[str, int]) -> str:
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:3]
    named = ", ".join(f"{name} ({size / 2**20:.0f} MiB)" for name, size in largest)
    return (
        f"package: {folder} is more than {LIMIT // 2**20} MiB, the most that a cluster takes, compressed; "
        f"the largest: {named}. Name what the task does not import in {folder / IGNORE_FILES[1]}, "
        "and put data on shared storage"
    )
