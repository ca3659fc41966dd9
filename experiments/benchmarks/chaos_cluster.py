"""Kills nodes, drivers and heads of a real cluster at random moments under running sweeps.

    python experiments/benchmarks/chaos_cluster.py --fault node --kills 20 --seed 1
    python experiments/benchmarks/chaos_cluster.py --fault node --kills 20 --seed 1 --trials fused

Starts `cluster/local.sh` (a head without processors, workers with one each, token authentication), runs one sweep
undisturbed, and then the same sweep again and again, disturbed at random moments, until so many faults were made.
After each run: the sweep has completed, each (trial, epoch) stands exactly once, and all tables equal those of the
undisturbed run, row for row, but for times and nodes. Prints one line a run; exit code 1 if any was not so.

Faults: `node`: kill -9 of every process of a worker, which comes back after a second; `notice`: SIGTERM to a
worker's raylet, as a spot node gets it; `driver`: kill -9 of `searcher run`, then --resume; `head`: kill -9 of the
head and of the driver, a new head, new workers, then --resume.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pandas as pd

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "cluster/local.sh"
HEALTH = {
    # A dead node is noticed after some 3 s instead of some 10, so that a run takes minutes.
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "3",
}
SWEEP = """
name: chaos
seeds: [0, 1]
stop: {overfit: off}
resources: {cpu: 1}
max_failures: 8
checkpoint_every: 1
"""
TRIALS = {
    # Eight trials, one a carrier.
    "single": """
task: ./sleeping_tasks.py:tenths
epochs: 12
strategies:
  - grid: {lr: [0.01, 0.1], momentum: [0.9], weight_decay: [0], batch_size: [48, 72], schedule: one_cycle}
""",
    # Sixteen trials in three batches of six, six and four: enough steps for fusing to be considered.
    "fused": """
task: ./sleeping_tasks.py:twentieths
epochs: 100
strategies:
  - grid:
      {lr: [0.01, 0.03, 0.1, 0.3], momentum: [0.9], weight_decay: [0, 1e-3], batch_size: 48, schedule: one_cycle}
""",
}
MARGIN = 600.0
"""Seconds after which a run that has not ended counts as hanging."""


class Cluster:
    """A head and workers w1, w2, … in a folder of their own."""

    def __init__(self, workers: int) -> None:
        self.workers = [f"w{number}" for number in range(1, workers + 1)]
        self.parent = Path(tempfile.mkdtemp(prefix="sc-", dir="/tmp"))
        self.folder = self.parent / "c"
        self.script("start", "--workers", str(workers), "--cpus", "1", "--dashboard-port", "0")
        words = (self.folder / "cluster.env").read_text().replace("export ", "").split()
        self.port = dict(word.split("=", 1) for word in words)["GCS_PORT"]

    def script(self, word: str, *options: str) -> None:
        environment = os.environ | HEALTH | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        subprocess.run([str(SCRIPT), word, str(self.folder), *options], env=environment, check=True)

    def run(self, file: Path, *options: str, stderr: IO[bytes] | None = None) -> subprocess.Popen[bytes]:
        """A driver."""
        environment = os.environ | HEALTH | {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.folder / "token"),
            "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        command = [sys.executable, "-m", "searcher.cli", "run", str(file), "--address", f"127.0.0.2:{self.port}"]
        return subprocess.Popen([*command, *options], env=environment, stdout=subprocess.DEVNULL, stderr=stderr)

    def raylet(self, name: str) -> int:
        """The process of a worker's raylet."""
        found = subprocess.run(["ps", "-eo", "pid=,args="], capture_output=True, text=True, check=True).stdout
        mark = f"{self.folder}/{name}/session_"
        return next(int(line.split()[0]) for line in found.splitlines() if "/raylet " in line and mark in line)

    def stop(self) -> None:
        self.script("stop")
        shutil.rmtree(self.parent, ignore_errors=True)


@dataclass
class Chaos:
    """Makes faults of one kind until enough were made."""

    cluster: Cluster
    fault: str
    kills: int
    chance: random.Random
    every: tuple[float, float]
    made: int = 0

    def disturb(self, file: Path) -> tuple[int, int]:
        """Runs the sweep through faults; returns its exit code and how many faults it met."""
        met, options, began = 0, [], time.monotonic()
        driver = self.cluster.run(file)
        while True:
            try:
                code = driver.wait(self.chance.uniform(*self.every))
            except subprocess.TimeoutExpired:
                if time.monotonic() - began > MARGIN:
                    driver.kill()
                    return -1, met
                if self.made >= self.kills:
                    continue
                self.made += 1
                met += 1
                if self.fault in ("driver", "head"):
                    driver.kill()
                    driver.wait()
                    options = ["--resume"]
                self.strike()
                if options:
                    driver = self.cluster.run(file, *options)
            else:
                return code, met

    def strike(self) -> None:
        name = self.chance.choice(self.cluster.workers)
        match self.fault:
            case "node":
                self.cluster.script("kill", name)
                time.sleep(1)
                self.cluster.script("worker", name)
            case "notice":
                os.kill(self.cluster.raylet(name), signal.SIGTERM)
                time.sleep(5)
                self.cluster.script("kill", name)
                self.cluster.script("worker", name)
            case "head":
                # Without Redis a new head knows nothing of the old one's nodes.
                for node in ("head", *self.cluster.workers):
                    self.cluster.script("kill", node)
                time.sleep(1)
                self.cluster.script("head")
                for node in self.cluster.workers:
                    self.cluster.script("worker", node)


def tables(results: Path) -> dict[str, pd.DataFrame]:
    """What plain pandas reads, without what two runs may differ in."""
    found = {}
    for name in ("trials", "epochs"):
        frame = pd.read_parquet(results / name)
        frame = frame.drop(columns=["seconds", "time", "started", "finished", "node"], errors="ignore")
        keys = [key for key in ("strategy", "trial_id", "epoch") if key in frame]
        found[name] = frame.astype({"strategy": str}).sort_values(keys).reset_index(drop=True)
    return found


def check(results: Path, expected: dict[str, pd.DataFrame]) -> list[str]:
    """What is wrong with the results; nothing, if all is well."""
    wrong = []
    if (status := pd.read_parquet(results / "sweeps").status.tolist()) != ["completed"]:
        wrong.append(f"the sweep is {status}")
    found = tables(results)
    twice = found["epochs"].duplicated(["trial_id", "epoch"]).sum()
    if twice:
        wrong.append(f"{twice} epochs stand twice")
    for name, table in expected.items():
        if len(table) != len(found[name]):
            wrong.append(f"{name}: {len(found[name])} rows, not {len(table)}")
        elif not table.equals(found[name]):
            wrong.append(f"{name}: {(table != found[name]).any(axis=1).sum()} rows differ")
    left = [path for path in (results / ".searcher/checkpoints").rglob("*") if path.is_file()]
    if left:
        wrong.append(f"{len(left)} checkpoints are left over")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fault", choices=["node", "notice", "driver", "head"], default="node")
    parser.add_argument("--trials", choices=list(TRIALS), default="single")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--every", type=float, nargs=2, default=(4.0, 10.0), help="seconds between two faults")
    options = parser.parse_args()
    sweep = SWEEP + TRIALS[options.trials]
    cluster = Cluster(options.workers)
    chaos = Chaos(cluster, options.fault, options.kills, random.Random(options.seed), tuple(options.every))
    failed = runs = 0
    try:
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(ROOT / "experiments/benchmarks/sleeping_tasks.py", folder)
            file = Path(folder, "chaos.yaml")
            file.write_text(f"{sweep}results: {folder}/undisturbed\n")
            began = time.monotonic()
            assert cluster.run(file).wait() == 0
            print(f"undisturbed: {time.monotonic() - began:.0f} s", flush=True)
            expected = tables(Path(folder, "undisturbed"))
            while chaos.made < chaos.kills:
                runs += 1
                results = Path(folder, f"run{runs}")
                file.write_text(f"{sweep}results: {results}\n")
                began = time.monotonic()
                code, met = chaos.disturb(file)
                wrong = [f"exit code {code}"] if code else check(results, expected)
                failed += bool(wrong)
                took = time.monotonic() - began
                print(
                    f"run {runs}: {met} faults, {took:.0f} s: {'; '.join(wrong) or 'as it should be'}", flush=True
                )
    finally:
        cluster.stop()
    told = f"{chaos.made} faults ({options.fault}, {options.trials} trials) in {runs} runs, {failed} of them wrong"
    print(f"{told}; seed {options.seed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
