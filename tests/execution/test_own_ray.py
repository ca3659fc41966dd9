"""A Ray of our own: its processes import PyTorch before a carrier needs them, and a Ray of others is left alone."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from ray.tune.execution import class_cache

from searcher.execution.own_ray import started_ahead
from searcher.execution.resources import Resources

TESTS = Path(__file__).parents[1]

PROGRAM = """
import json, os, sys, threading, time
from pathlib import Path
from ray.tune.execution import class_cache
import searcher

os.cpu_count = lambda: 2
folder = Path(sys.argv[1])
preloaded = set()  # Ray's processes that were seen with PyTorch in them before they had anything to do


def is_ours(pid):
    while pid > 1:
        if pid == os.getpid():
            return True
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return False


def look():
    while True:
        for place in Path("/proc").glob("[0-9]*"):
            try:
                command = (place / "cmdline").read_bytes()
                # In the command of the raylet, which is far longer, the script comes later.
                unused = command.startswith(b"ray::IDLE") or b"/default_worker.py" in command[:300]
                if unused and "libtorch" in (place / "maps").read_text() and is_ours(int(place.name)):
                    preloaded.add(int(place.name))
            except OSError:  # it has ended meanwhile, or is another user's
                continue
        time.sleep(0.05)


class Watch:
    def begin(self, *_):  # nothing was asked of Ray yet
        patience = time.monotonic() + 90
        while len(preloaded) < 2 and time.monotonic() < patience:
            time.sleep(0.1)
        self.before, self.asked_for = len(preloaded), dict(class_cache.DEFAULT_ENV_VARS)

    def record(self, record):
        pass

    def end(self):
        pass


grid = {"lr": [0.01, 0.02, 0.05, 0.1], "batch_size": [48], "schedule": "step"}
sweep = searcher.parse_sweep({
    "name": "ahead", "task": "task_that_tells.py:make_task", "epochs": 2, "seeds": [0],
    "strategies": [{"grid": grid}], "results": str(folder / "results"),
})
from searcher import study
threading.Thread(target=look, daemon=True).start()
watch = Watch()
study.run(sweep, folder, observer=watch)
(folder / "preloaded.json").write_text(json.dumps([watch.before, watch.asked_for, sorted(preloaded)]))
"""


def test_the_processes_that_train_are_those_that_had_imported_pytorch_before(tmp_path: Path) -> None:
    (tmp_path / "tiny_task.py").write_text((TESTS / "tiny_task.py").read_text())
    (tmp_path / "task_that_tells.py").write_text(
        "import os\nfrom pathlib import Path\nfrom tiny_task import make_task\n"
        "(Path(__file__).parent / f'loaded.{os.getpid()}').touch()\n"
    )
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    driver = subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path)], env=surroundings)
    assert driver.wait(timeout=240) == 0
    before, asked_for, preloaded = json.loads((tmp_path / "preloaded.json").read_text())
    carriers = {int(file.suffix[1:]) for file in tmp_path.glob("loaded.*")} - {driver.pid}
    assert before >= 2
    assert not asked_for, "with variables of their own, actors get processes of their own"
    assert carriers
    # Those that there were before or, where these are not ready in time, others that Ray starts in their stead.
    assert carriers <= set(preloaded)


@pytest.mark.parametrize(("address", "variable"), [("127.0.0.2:6379", None), (None, "127.0.0.2:6379")])
def test_where_there_is_a_cluster_nothing_is_started_and_nothing_set(
    address: str | None, variable: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if variable:
        monkeypatch.setenv("RAY_ADDRESS", variable)
    before = dict(os.environ), threading.active_count(), dict(class_cache.DEFAULT_ENV_VARS)
    with started_ahead(address, Resources()) as wait:
        wait()
        assert (dict(os.environ), threading.active_count(), dict(class_cache.DEFAULT_ENV_VARS)) == before
