"""Fills a disk of a real cluster under a running sweep. Needs root: the disks are small file systems in memory.

    python experiments/benchmarks/full_disk.py --disk worker --seed 1
    python experiments/benchmarks/full_disk.py --disk results --seed 1

A head without processors and two workers with one each. One sweep runs undisturbed, then once more, and at a random
moment a disk becomes full to the last byte. `worker`: that of one node's session folder (logs, sockets, spilled
objects), until the sweep has ended. `results`: that of the results and checkpoints, until the run has ended by it;
then there is room again, and the sweep is resumed. In the end each (trial, epoch) must stand once and all tables
must be those of the undisturbed run; a run that ends early must have said so in its last line, with exit code 2.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from chaos_cluster import HEALTH, ROOT, SCRIPT, SWEEP, TRIALS, Cluster, check, tables

MEBIBYTES = {"worker": 64, "results": 4}


@contextlib.contextmanager
def small_disk(size: int) -> Iterator[int]:
    """A file system of so many MiB at /mnt of a mount namespace; gives a process that lives in it."""
    mounting = f"mount -t tmpfs -o size={size}m tmpfs /mnt && echo mounted && exec sleep 3600"
    words = ["unshare", "--mount", "sh", "-c", mounting]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline(), "a file system of one's own takes root"
        try:
            yield holder.pid
        finally:
            holder.kill()


def fill(disk: Path) -> Path:
    """Leaves no byte free; returns the file that takes the room."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * size)
    return ballast


def start_worker_on(cluster: Cluster, name: str, holder: int) -> None:
    """A worker that sees the disk as its session folder."""
    (cluster.folder / name).mkdir(mode=0o700)
    start = f'mount --bind /mnt "{cluster.folder}/{name}" && exec "{SCRIPT}" worker "{cluster.folder}" {name}'
    environment = os.environ | HEALTH | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    words = ["nsenter", "--target", str(holder), "--mount", "sh", "-c", start]
    subprocess.run(words, env=environment, check=True)


def last_line(file: Path) -> str:
    lines = [line for line in file.read_text().splitlines() if line.strip()]
    return lines[-1] if lines else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--disk", choices=list(MEBIBYTES), required=True)
    parser.add_argument("--trials", choices=list(TRIALS), default="single")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sweep, chance = SWEEP + TRIALS[options.trials], random.Random(options.seed)
    cluster = Cluster(1)
    try:
        with small_disk(MEBIBYTES[options.disk]) as holder, tempfile.TemporaryDirectory() as folder:
            disk = Path(f"/proc/{holder}/root/mnt")
            if options.disk == "worker":
                start_worker_on(cluster, "w2", holder)
            else:
                cluster.script("worker", "w2")
            shutil.copy(ROOT / "experiments/benchmarks/sleeping_tasks.py", folder)
            file, told = Path(folder, "full.yaml"), Path(folder, "told")
            file.write_text(f"{sweep}results: {folder}/undisturbed\n")
            began = time.monotonic()
            assert cluster.run(file).wait() == 0
            usual = time.monotonic() - began
            print(f"undisturbed: {usual:.0f} s", flush=True)
            results = Path(folder, "run") if options.disk == "worker" else disk / "results"
            file.write_text(f"{sweep}results: {results}\n")
            began = time.monotonic()
            with told.open("wb") as errors:
                driver = cluster.run(file, stderr=errors)
                after = chance.uniform(0.4 * usual, 0.7 * usual)
                time.sleep(after)
                ballast = fill(disk)
                code = driver.wait(600)
            print(f"full after {after:.0f} s; ended with {code} after {time.monotonic() - began:.0f} s", flush=True)
            if options.disk == "results":
                print(f"its last line: {last_line(told)}")
                ballast.unlink()
                assert code == 2, "it should have ended by the full disk"
                code = cluster.run(file, "--resume").wait(600)
            wrong = [f"exit code {code}"] if code else check(results, tables(Path(folder, "undisturbed")))
    finally:
        cluster.stop()
    print(f"{options.disk}, {options.trials} trials: {'; '.join(wrong) or 'as it should be'}; seed {options.seed}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
