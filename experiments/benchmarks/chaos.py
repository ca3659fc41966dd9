"""Kills sweeps with `kill -9` at random moments, resumes them, and compares their tables with an undisturbed run's.

    python experiments/benchmarks/chaos.py --kills 10 --seed 1

Each blow hits, by lot, the driver (the `searcher run` process) or one that trains a trial; after one to the
driver, or when the run ends, the same command is given again. A sweep takes blows until it completes, then its
tables are compared, row for row, with those of the run that nobody disturbed, and the next sweep begins. Left
out of the comparison is only what two runs of anything differ in: times, durations and hosts. All runs use one
Ray of two CPUs, so that blows fall into the sweep and not into the start of a Ray.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import ray
import yaml

from searcher import NothingFoundError, open_results

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
VARIES = ["seconds", "time", "started", "finished", "node"]
END_SECONDS = 300.0
"""A run that is left in peace for so long and does not end has hung."""


@dataclass
class Chaos:
    """Sweeps under blows.

    Attributes:
        file: the sweep file; every run of it goes to a results folder of its own.
        environment: of the runs.
        seconds: what an undisturbed run takes; the blows fall at random within it.
        blows: what was hit so far, in order.
    """

    file: Path
    environment: Mapping[str, str]
    choice: random.Random
    seconds: float = 0.0
    blows: list[str] = field(default_factory=list)

    def undisturbed(self, results: str) -> None:
        started = time.monotonic()
        self._end(self._start(results))
        self.seconds = time.monotonic() - started

    def disturbed(self, results: str, kills: int) -> int:
        """One sweep, with at most so many blows, to its end. Returns the blows that fell."""
        left = kills
        while True:
            run = self._start(results)
            while left and self._alive_after(run, self.choice.uniform(0, self.seconds)):
                left -= 1
                if self._strike(run, results) == "driver":
                    break
            else:
                self._end(run)
                return kills - left

    def _start(self, results: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "searcher.cli", "run", str(self.file), "--resume"]
        command += ["--set", f"results={results}"]
        return subprocess.Popen(
            command, env=dict(self.environment), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def _end(self, run: subprocess.Popen[str]) -> None:
        try:
            _, errors = run.communicate(timeout=END_SECONDS)
        except subprocess.TimeoutExpired:
            run.kill()
            raise
        if run.returncode:
            raise RuntimeError(f"a run ended with exit code {run.returncode}: {errors}")

    def _alive_after(self, run: subprocess.Popen[str], seconds: float) -> bool:
        try:
            run.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return True
        return False

    def _strike(self, run: subprocess.Popen[str], results: str) -> str:
        training = sorted(carriers())
        victim = self.choice.choice(["driver", "worker"]) if training else "driver"
        os.kill(self.choice.choice(training) if victim == "worker" else run.pid, signal.SIGKILL)
        if victim == "driver":
            run.communicate()
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
        environment = {**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address}
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
