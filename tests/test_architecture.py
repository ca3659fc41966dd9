"""Holds the arrows of the design: who may import whom, and what importing costs."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "searcher"
LEAVES = {"_version", "records", "errors"}
FACES = {"cli", "commands", "job", "progress", "report"}

# room -> (rooms of ours that it may import, libraries that it may import); None: any library
ARROWS: dict[str, tuple[set[str], set[str] | None]] = {
    "records": (set(), set()),
    "errors": (set(), set()),
    "_version": (set(), set()),
    "algorithms": (set(), {"numpy", "optuna"}),
    "sweep": ({"algorithms"}, {"pydantic", "pydantic_core", "yaml"}),
    "training": ({"algorithms"}, {"numpy", "torch", "torchvision", "sklearn", "mnist1d", "pynvml"}),
    "execution": ({"algorithms", "training"}, {"ray", "grpc", "torch", "numpy", "optuna", "mlflow"}),
    "results": (set(), {"fsspec", "pyarrow", "duckdb", "pandas", "polars", "numpy"}),
    "comparing": ({"algorithms", "results", "sweep"}, {"pandas", "rich"}),
    "replaying": ({"algorithms", "comparing", "execution"}, {"pandas", "numpy"}),
    "study": ({"comparing", "algorithms", "training", "execution", "results", "sweep"}, {"pandas", "numpy"}),
    "finding": ({"algorithms", "training", "plotting"}, {"numpy", "torch"}),
    "plotting": ({"algorithms"}, {"matplotlib"}),
    "explaining": ({"algorithms", "results", "sweep"}, set()),
    "cluster": (
        {"results", "sweep", "execution", "searcher"},
        {"ray", "requests", "aiohttp", "pathspec"},
    ),
    "face": (
        {
            "cluster",
            "execution",
            "training",
            "finding",
            "explaining",
            "study",
            "comparing",
            "replaying",
            "results",
            "sweep",
            "algorithms",
        },
        None,
    ),
    "searcher": (
        {
            "cluster",
            "finding",
            "explaining",
            "study",
            "comparing",
            "results",
            "sweep",
            "training",
            "execution",
            "face",
        },
        set(),
    ),
}


def room_of(module: str) -> str:
    """The room of a module given as its dotted name below `searcher`."""
    first = module.split(".")[0]
    if first in FACES:
        return "face"
    if first.startswith("sweep") or first == "_yaml":
        return "sweep"
    if first == "compared":
        return "comparing"
    return first or "searcher"


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            if node.module == "searcher":
                yield from (f"searcher.{alias.name}" for alias in node.names)
            else:
                yield node.module


MODULES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_follow_the_arrows(path: Path) -> None:
    dotted = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix("__init__").strip(".")
    room = room_of(dotted)
    rooms, libraries = ARROWS[room]
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top == "searcher":
            target = room_of(rest)
            assert target in rooms | LEAVES | {room}, f"{room} must not import {name}"
        elif top not in sys.stdlib_module_names and libraries is not None:
            assert top in libraries, f"{room} must not import {name}"


@pytest.mark.parametrize(
    ("library", "room"), [("pyarrow", "results"), ("duckdb", "results"), ("ray.job_submission", "cluster")]
)
def test_one_room_touches_a_library(library: str, room: str) -> None:
    assert not [
        path
        for path in MODULES
        if room_of(path.relative_to(ROOT).parts[0].removesuffix(".py")) != room
        and any(f"{name}.".startswith(f"{library}.") for name in imports(path))
    ]


def test_optuna_is_left_to_the_strategies_that_need_it() -> None:
    users = {path.stem for path in MODULES if any(name.partition(".")[0] == "optuna" for name in imports(path))}
    assert users == {"optuna_search", "tpe", "bohb", "peers"}


@pytest.mark.parametrize("code", ["import searcher", "import searcher.cli", "from searcher import load_sweep"])
def test_importing_is_light(code: str) -> None:
    heavy = "{'ray', 'torch', 'pandas', 'pyarrow'} & set(sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}; print({heavy})"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "set()"
