"""What can be said of a task's reference before PyTorch is imported: a mistake in it is answered at once."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path

from searcher.errors import TaskError, nearest

BUILT_IN = {
    "cifar10": "searcher.training.builtin.downloaded:cifar10",
    "cifar10_resnet9": "searcher.training.builtin.downloaded:cifar10_resnet9",
    "cifar100": "searcher.training.builtin.downloaded:cifar100",
    "digits": "searcher.training.builtin.images:digits",
    "digits_resnet": "searcher.training.builtin.images:digits_resnet",
    "mnist": "searcher.training.builtin.downloaded:mnist",
    "mnist1d": "searcher.training.builtin.signals:mnist1d",
    "mnist1d_mlp": "searcher.training.builtin.signals:mnist1d_mlp",
    "names_transformer": "searcher.training.builtin.text:names_transformer",
}


def parts_of(reference: str) -> tuple[str, str]:
    """The module or file that a reference names, and the function in it.

    Raises:
        TaskError: it names neither that nor a built-in task.
    """
    place, colon, function = BUILT_IN.get(reference, reference).rpartition(":")
    if not colon or not place or not function:
        listed = ", ".join(f"'{name}'" for name in BUILT_IN)
        raise TaskError(
            f"task: got '{reference}'; must be one of {listed}, or package.module:function, or ./file.py:function."
            f"{nearest(reference, BUILT_IN)}"
        )
    return place, function


def file_of(reference: str, place: str, folder: Path) -> Path:
    """The file at a place that is one.

    Raises:
        TaskError: there is none.
    """
    path = folder / place
    if not path.is_file():
        raise TaskError(f"task: '{reference}': there is no file {path}")
    return path


def check_reference(reference: str, folder: str | Path) -> None:
    """Looks whether a reference can be right without running anything of it.

    Args:
        reference, folder: see `searcher.training.tasks.load_task`.

    Raises:
        TaskError: there is no such built-in task, file or package; the file is no Python, or has no such function.
    """
    place, function = parts_of(reference)
    folder = Path(folder).resolve()
    if not place.endswith(".py"):
        top = place.partition(".")[0]
        here = any((folder / name).exists() for name in (top, f"{top}.py"))
        if not (here or top in sys.modules or importlib.util.find_spec(top)):
            raise TaskError(f"task: '{reference}' does not import: ModuleNotFoundError: No module named '{top}'")
        return
    path = file_of(reference, place, folder)
    try:
        tree = ast.parse(path.read_bytes(), path.name)
    except (SyntaxError, ValueError) as error:
        raise TaskError(f"task: '{reference}' does not import: {type(error).__name__}: {error}") from error
    names = _names_in(tree)
    if names is not None and function not in names:
        public = [name for name in names if not name.startswith("_")]
        raise TaskError(f"task: '{reference}': {place} has no function '{function}'.{nearest(function, public)}")


def _names_in(tree: ast.Module) -> list[str] | None:
    """The names that plain definitions and imports give a module; None where others may come about."""
    names: list[str] = []
    for node in tree.body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                names.append(name)
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases) if aliases[0].name != "*":
                names += [(alias.asname or alias.name).partition(".")[0] for alias in aliases]
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                names.append(name)
            case ast.Expr(value=ast.Constant()):
                pass
            case _:
                return None
    return names


__all__ = ["BUILT_IN", "check_reference", "file_of", "parts_of"]
