"""Takes the object storage away from a running sweep for longer than it is waited for, and resumes the sweep.

    python experiments/benchmarks/storage_outage.py --seconds 45 --runs 2 --seed 1

A head without processors and two workers with one each, results and checkpoints on an S3 server that is part of
this process. One sweep runs undisturbed. Then it runs again, and at a random moment the server answers every
request by 503 (Slow Down), for so many seconds and until the run has ended by it. A resume that is tried meanwhile
must end in one line as well; the one after the outage must complete the sweep. In the end each (trial, epoch) must
stand once, all tables must be those of the undisturbed run, and no checkpoint may be left over.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.fs as pafs
from chaos_cluster import ROOT, SWEEP, TRIALS, Cluster, check, tables
from full_disk import last_line

sys.path.insert(0, str(ROOT / "tests"))
from faulty_storage import S3Server


def copied(place: str, folder: Path) -> Path:
    """What is stored in a folder of the bucket, on this machine's disk."""
    storage, root = pafs.FileSystem.from_uri("s3://bucket")
    to = folder / place
    pafs.copy_files(
        f"{root}/{place}", str(to), source_filesystem=storage, destination_filesystem=pafs.LocalFileSystem()
    )
    return to


class Outage:
    """A sweep whose storage goes away."""

    def __init__(self, cluster: Cluster, server: S3Server, folder: Path, sweep: str) -> None:
        self._cluster, self._server, self._sweep = cluster, server, sweep
        self._file, self._told = folder / "outage.yaml", folder / "told"

    def run(
        self, place: str, *options: str, down_after: float | None = None, down_for: float = 0.0
    ) -> tuple[int, str]:
        """Runs the sweep; its exit code and the last line that it wrote."""
        self._file.write_text(f"{self._sweep}results: s3://bucket/{place}\n")
        with self._told.open("wb") as errors:
            driver = self._cluster.run(self._file, *options, stderr=errors)
            if down_after is not None:
                time.sleep(down_after)
                self._server.down = True
                time.sleep(down_for)
            code = driver.wait(600)
        return code, last_line(self._told)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", choices=list(TRIALS), default="single")
    parser.add_argument("--seconds", type=float, default=45.0)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance, failed = random.Random(options.seed), 0
    with tempfile.TemporaryDirectory() as name, S3Server() as server:
        folder = Path(name)
        shutil.copy(ROOT / "experiments/benchmarks/sleeping_tasks.py", folder)
        os.environ.update(server.environment)
        storage, _ = pafs.FileSystem.from_uri("s3://bucket?allow_bucket_creation=true")
        storage.create_dir("bucket")
        cluster = Cluster(2)
        try:
            outage = Outage(cluster, server, folder, SWEEP + TRIALS[options.trials])
            began = time.monotonic()
            assert outage.run("undisturbed") == (0, last_line(folder / "told"))
            usual = time.monotonic() - began
            print(f"undisturbed: {usual:.0f} s", flush=True)
            expected = tables(copied("undisturbed", folder))
            for number in range(1, options.runs + 1):
                place, after = f"run{number}", chance.uniform(0.5 * usual, 0.8 * usual)
                code, told = outage.run(place, down_after=after, down_for=options.seconds)
                print(f"run {number}: down after {after:.0f} s; ended with {code}: {told}", flush=True)
                early, told = outage.run(place, "--resume")
                print(f"resumed meanwhile, it ended with {early}: {told}", flush=True)
                server.down = False
                left, told = outage.run(place, "--resume")
                wrong = [] if (code, early, left) == (2, 2, 0) else [f"exit codes {code}, {early}, {left}: {told}"]
                wrong += check(copied(place, folder), expected)
                failed += bool(wrong)
                print(f"run {number}: resumed, {'; '.join(wrong) or 'as it should be'}", flush=True)
        finally:
            cluster.stop()
    print(f"{options.runs} outages of {options.seconds:g} s ({options.trials} trials), {failed} of them wrong")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
