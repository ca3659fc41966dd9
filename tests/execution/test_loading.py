"""A task is looked at on a worker before anything is trained: what is said of it, and what says nothing of it."""

import os
from pathlib import Path

import pytest

from searcher.errors import ExecutionError, TaskError
from searcher.execution.device import LOGICAL, device_for
from searcher.execution.loading import check_workers
from searcher.execution.resources import Resources


def task_that(elsewhere: str, folder: Path) -> tuple[str, Path]:
    """A task that loads in this process, and does something else in others."""
    source = (
        f"import os, time\nif os.getpid() != {os.getpid()}:\n    {elsewhere}\nfrom tiny_task import make_task\n"
    )
    (folder / "elsewhere.py").write_text(source)
    (folder / "tiny_task.py").write_text((Path(__file__).parents[1] / "tiny_task.py").read_text())
    return "elsewhere.py:make_task", folder


def test_a_worker_that_dies_meanwhile_says_nothing_of_the_task(ray_session: object, tmp_path: Path) -> None:
    mark = tmp_path / "was_there"
    task, folder = task_that(f"open({str(mark)!r}, 'w').close(); os.kill(os.getpid(), 9)", tmp_path)
    check_workers(task, folder, Resources())
    assert mark.exists()


def test_a_task_that_a_worker_cannot_load_is_refused(ray_session: object, tmp_path: Path) -> None:
    task, folder = task_that("raise OSError('no such disk here')", tmp_path)
    with pytest.raises(TaskError, match=r"'elsewhere.py:make_task' does not import: OSError: no such disk here"):
        check_workers(task, folder, Resources())


def test_a_task_that_takes_long_is_left_to_the_trials(
    ray_session: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("searcher.execution.loading.LOOK_SECONDS", 1.0)
    task, folder = task_that("time.sleep(600)", tmp_path)
    check_workers(task, folder, Resources())


def test_a_gpu_that_torch_does_not_see_is_told_and_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(LOGICAL, raising=False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert device_for(0).type == "cpu"
    with pytest.raises(ExecutionError, match=r"resources.gpu: torch .* sees no GPU where Ray counts one"):
        device_for(0.5)
    monkeypatch.setenv(LOGICAL, "1")
    assert device_for(0.5).type == "cpu", "a rehearsal"
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert device_for(0.5).type == "cuda"
