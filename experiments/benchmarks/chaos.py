"""Kills sweeps with `kill -9` at random moments, resumes them, and compares their tables with an undisturbed run's.

    python experiments/benchmarks/chaos.py --kills 10 --seed 1

Each blow hits, by lot, the driver (the process of `searcher run`) or one that trains a trial; after one to the
driver the same command is given again. A sweep takes blows until it completes, then its tables are compared, row
for row, with those of the run that nobody disturbed, and the next sweep begins. Left out of the comparison is only
what two runs of anything differ in: times, durations and hosts. So that blows fall into the sweep, and not into the
start of Python and of Ray, drivers are forked from a process that has imported what they need, and share a Ray.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

import pandas as pd
import ray
import yaml

from searcher import NothingFoundError, open_results
from searcher.cli import main as searcher

SWEEP = {
    "name": "chaos",
    "task": "digits",
    "epochs": 4,
    "seeds": [0, 1],
    "strategies": [
        {"grid": {"lr": [0.03, 0.3], "weight_decay": [0.0], "momentum": [0.9], "batch_size": [64, 128],
                  "schedule": "step"}},
        {"random": {"trials": 4, "lr": {"loguniform": [1e-3, 1.0]}, "weight_decay": {"choice": [0.0, 1e-4]},
                    "momentum": {"uniform": [0.8, 0.99]}, "batch_size": {"choice": [64, 128]},
                    "schedule": "cosine"}},
        {"one_cycle": {"weight_decay": [1e-3, 0.0], "batch_size": 64}},
    ],
}  # fmt: skip
VARIES = ["seconds", "energy", "time", "started", "finished", "node"]
END_SECONDS = 300.0
"""A run that is left in peace for so long and does not end has hung."""


FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["searcher.execution.runner", "searcher.study", "searcher.training.builtin", "rich"])


def drive(environment: Mapping[str, str], arguments: Sequence[str]) -> None:
    """What a driver does: the command line, as a process of its own."""
    os.environ.update(environment)
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        searcher(arguments)


@dataclass
class Chaos:
    """Sweeps under blows.

    Attributes:
        file: the sweep file; every run of it goes to a results folder of its own.
        environment: of the drivers: how they find Ray, and storage.
        first, seconds: when an undisturbed run has stored an epoch, and when it ends; the blows fall between.
        blows: what was hit so far, in order.
    """

    file: Path
    environment: Mapping[str, str]
    choice: random.Random
    first: float = 0.0
    seconds: float = 0.0
    blows: list[str] = field(default_factory=list)

    def undisturbed(self, results: str) -> None:
        started = time.monotonic()
        run = self._start(results)
        while run.is_alive() and not stored_epochs(results):
            time.sleep(0.05)
        self.first = time.monotonic() - started
        self._end(run)
        self.seconds = time.monotonic() - started

    def disturbed(self, results: str, kills: int) -> int:
        """One sweep, with at most so many blows, to its end. Returns the blows that fell."""
        left, started = kills, time.monotonic()
        while True:
            run = self._start(results)
            while left and self._alive_after(run, self.choice.uniform(self.first / 2, self.seconds)):
                left -= 1
                if self._strike(run, results) == "driver":
                    break
            else:
                self._end(run)
                if left == kills:  # the machine has become faster: the blows are to fall earlier
                    self.seconds = min(self.seconds, time.monotonic() - started)
                return kills - left

    def struck_at(self, results: str, stored: Sequence[int]) -> int:
        """One sweep, with a blow whenever so many of its epochs are stored, to its end; the blows that fell."""
        run, before = self._start(results), len(self.blows)
        for epochs in stored:
            while run.is_alive() and stored_epochs(results) < epochs:
                time.sleep(0.05)
            if run.is_alive() and self._strike(run, results) == "driver":
                run = self._start(results)
        self._end(run)
        return len(self.blows) - before

    def _start(self, results: str) -> BaseProcess:
        arguments = ["run", str(self.file), "--resume", "--set", f"results={results}"]
        run = FORKS.Process(target=drive, args=(self.environment, arguments))
        run.start()
        return run

    def _end(self, run: BaseProcess) -> None:
        run.join(END_SECONDS)
        if run.is_alive():
            run.kill()
            raise RuntimeError(f"a run did not end within {END_SECONDS:g} s")
        if run.exitcode:
            raise RuntimeError(f"a run ended with exit code {run.exitcode}")

    def _alive_after(self, run: BaseProcess, seconds: float) -> bool:
        run.join(seconds)
        return run.is_alive()

    def _strike(self, run: BaseProcess, results: str) -> str:
        training = sorted(carriers())
        victim = self.choice.choice(["driver", "worker"]) if training else "driver"
        os.kill(self.choice.choice(training) if victim == "worker" else run.pid, signal.SIGKILL)
        if victim == "driver":
            run.join()
        self.blows.append(victim)
        print(f"{len(self.blows)}: {victim} killed with {stored_epochs(results)} epochs stored", flush=True)
        return victim


def carriers() -> Iterator[int]:
    """The processes below this one in which Ray trains."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            _, _, rest = stat.read_text().rpartition(") ")
            parents[int(stat.parent.name)] = int(rest.split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended since
    for pid in parents:
        ancestor = pid
        while ancestor in parents and ancestor != os.getpid():
            ancestor = parents[ancestor]
        try:
            title = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if ancestor == os.getpid() and title.startswith(b"ray::ImplicitFunc"):
            yield pid


def stored_epochs(results: str) -> int:
    try:
        return len(open_results(results).epochs(columns=["epoch"]))
    except NothingFoundError:
        return 0


def tables(results: str) -> dict[str, pd.DataFrame]:
    """What was measured, without what two runs differ in."""
    found = {}
    for name in ("trials", "epochs", "steps"):
        frame = getattr(open_results(results), name)().drop(columns=VARIES, errors="ignore")
        keys = [key for key in ("strategy", "trial_id", "epoch", "step") if key in frame]
        found[name] = frame.sort_values(keys, ignore_index=True)
    return found


def check(results: str, expected: Mapping[str, pd.DataFrame]) -> None:
    """Raises AssertionError where a row or a value differs."""
    assert open_results(results).sweeps()["status"].tolist() == ["completed"]
    for name, frame in tables(results).items():
        pd.testing.assert_frame_equal(frame, expected[name], check_exact=True, obj=name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="searcher-chaos-") as folder:
        file = Path(folder, "sweep.yaml")
        file.write_text(yaml.safe_dump(SWEEP))
        ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        environment = {"RAY_ADDRESS": ray.get_runtime_context().gcs_address}
        chaos = Chaos(file, environment, random.Random(arguments.seed))
        chaos.undisturbed(f"{folder}/undisturbed")
        expected = tables(f"{folder}/undisturbed")
        rows = ", ".join(f"{len(frame)} {name}" for name, frame in expected.items())
        print(f"undisturbed: {chaos.seconds:.1f} s, {rows}", flush=True)
        sweeps = 0
        while len(chaos.blows) < arguments.kills:
            chaos.disturbed(f"{folder}/{sweeps}", arguments.kills - len(chaos.blows))
            check(f"{folder}/{sweeps}", expected)
            sweeps += 1
            print(f"sweep {sweeps}: its tables equal the undisturbed run's", flush=True)
    hits = ", ".join(f"{count} {victim}" for victim, count in sorted(Counter(chaos.blows).items()))
    print(f"{len(chaos.blows)} kills ({hits}) in {sweeps} sweeps; all tables equal the undisturbed run's")


if __name__ == "__main__":
    main()
