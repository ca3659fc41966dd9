"""What is sent to a cluster, and what is left here."""

import os
import re
import zipfile
from pathlib import Path

import pytest

from searcher.cluster import package
from searcher.cluster.package import pack, packed_files
from searcher.errors import ExecutionError, TaskError
from searcher.execution.packaged import MARK, on_this_node, portable


def write(root: Path, *names: str, text: str = "x") -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def names(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in packed_files(root)}


def test_task_code_is_sent_and_what_is_none_is_left(tmp_path: Path) -> None:
    write(tmp_path, "task.py", "lib/model.py", "lib/data/table.csv", "my.env.py")
    write(
        tmp_path,
        ".git/config", "__pycache__/task.pyc", "lib/__pycache__/model.cpython-311.pyc", ".env", "auth_token",
        "env/pyvenv.cfg", "env/lib/python3/site.py", "node_modules/a.js", ".mypy_cache/x",
        "results/trials/sweep=a/part.parquet", "results/sweeps/sweep=a/part.parquet",
    )  # fmt: skip
    assert names(tmp_path) == {"task.py", "lib/model.py", "lib/data/table.csv", "my.env.py"}


@pytest.mark.parametrize("file", [".gitignore", ".searcherignore"])
def test_ignore_files_are_read_as_git_reads_them(tmp_path: Path, file: str) -> None:
    write(tmp_path, "a.py", "big.bin", "kept.bin", "data/x.csv", "sub/data/y.csv", "sub/only.txt", "only.txt")
    (tmp_path / file).write_text("*.bin\n!kept.bin\n/data/\n")
    (tmp_path / "sub" / file).write_text("only.txt\n")
    expected = {"a.py", "kept.bin", "sub/data/y.csv", "only.txt", file, f"sub/{file}"}
    assert names(tmp_path) == expected


def test_a_token_and_links_that_lead_out_are_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "root"
    write(root, "task.py", "secret.txt")
    write(tmp_path, "outside.py")
    (root / "link.py").symlink_to(tmp_path / "outside.py")
    (root / "inside.py").symlink_to(root / "task.py")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(root / "secret.txt"))
    assert names(root) == {"task.py", "inside.py"}


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write(root, "sweeps/task.py", "b.py")
    digests = []
    for time in (1_000_000_000, 1_600_000_000):
        target = tmp_path / str(time)
        target.mkdir()
        for path in root.rglob("*.py"):
            os.utime(path, (time, time))
        packed = pack(root, "name: a\n", root / "sweeps", target)
        digests.append(packed.digest)
        with zipfile.ZipFile(packed.archive) as zipped:
            assert zipped.read(f"{MARK}.sweep.yaml") == b"name: a\n"
            assert zipped.read(MARK) == b'{"sweep_folder": "sweeps"}'
        assert (packed.module / "records.py").exists()
        assert not list(packed.module.rglob("__pycache__"))
    assert digests[0] == digests[1]


def test_a_package_that_a_cluster_would_not_take_is_refused_with_its_largest_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    write(root, "task.py")
    (root / "data.bin").write_bytes(os.urandom(3 * 2**20))
    monkeypatch.setattr(package, "LIMIT", 2 * 2**20)
    with pytest.raises(ExecutionError, match=r"more than 2 MiB.*data.bin \(3 MiB\).*\.searcherignore"):
        pack(root, "", root, tmp_path)


def test_a_tasks_file_that_is_not_there_or_is_left_out_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write(root, "sweeps/task.py", "left.py", "lib/task.py")
    write(tmp_path, "outside.py")
    (root / ".gitignore").write_text("left.py\n")
    sent = ("task.py:make", "../lib/task.py:make", "digits", "package.module:make", "/shared/task.py:make")
    for number, task in enumerate(sent):
        (target := tmp_path / str(number)).mkdir()
        pack(root, "", root / "sweeps", target, task)
    for task, told in {
        "./tusk.py:make": f"task: './tusk.py:make': there is no file {root}/sweeps/tusk.py",
        "../left.py:make": f"task: '../left.py:make': {root}/left.py is not sent: see the .gitignore",
        "../../outside.py:make": f"--working-dir: {root} does not hold the task's file {tmp_path}/outside.py",
    }.items():
        with pytest.raises((TaskError, ExecutionError), match=re.escape(told)):
            pack(root, "", root / "sweeps", tmp_path, task)


def test_a_working_dir_must_hold_the_sweep_file(tmp_path: Path) -> None:
    write(tmp_path, "a/task.py", "b/task.py")
    with pytest.raises(ExecutionError, match=re.escape(f"{tmp_path / 'a'} does not hold")):
        pack(tmp_path / "a", "", tmp_path / "b", tmp_path)


def test_a_folder_of_a_package_is_found_where_another_node_unpacked_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for node in ("head", "worker"):
        write(tmp_path, f"{node}/{MARK}", f"{node}/sweeps/task.py")
    sent = portable(tmp_path / "head/sweeps")
    assert sent == "sweeps"
    monkeypatch.syspath_prepend(tmp_path / "worker")
    assert on_this_node(sent) == str(tmp_path / "worker/sweeps")
    assert on_this_node(portable(tmp_path)) == str(tmp_path), "no package: the path is kept"
