"""A group-by in SQL over 100 million epoch rows: seconds and memory.

    python experiments/benchmarks/results/group_by.py --rows 100_000_000 --folder /tmp/many

Generates the rows, in the store's own files, unless the folder has them already (8 GB for 100 million; delete it
afterwards). Then asks the question some times, each time in a new process: prints the wall time from
`open_results` to the answer, and the process's peak of resident memory.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from searcher import open_results
from searcher.results.compaction import ROWS_PER_MERGED_FILE
from searcher.results.encoding import encode
from searcher.results.layout import folder, new_file_names
from searcher.results.schema import EPOCHS
from searcher.results.storage import open_files

STRATEGIES = ("grid", "random", "one_cycle", "tpe", "asha")
EPOCHS_PER_TRIAL = 100
QUESTION = """
    select strategy, epoch, count(*) as n, avg(test_loss) as mean, min(test_loss) as best, max(test_accuracy) as top
    from epochs group by all order by all
"""


def generate(root: Path, rows: int) -> None:
    """Files as compaction leaves them. The losses are random in every bit: nothing compresses worse."""
    files, schema = open_files(root), EPOCHS.schema()
    generator = np.random.default_rng(0)
    names = {strategy: new_file_names(folder(EPOCHS, "many", strategy)) for strategy in STRATEGIES}
    done = 0
    while done < rows:
        count = min(ROWS_PER_MERGED_FILE, rows - done)
        at = np.arange(done, done + count)
        epoch = at % EPOCHS_PER_TRIAL + 1
        trials = [
            f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}" for number in np.unique(at // EPOCHS_PER_TRIAL).tolist()
        ]
        known = {
            "trial_id": pa.DictionaryArray.from_arrays(
                (at // EPOCHS_PER_TRIAL - done // EPOCHS_PER_TRIAL).astype("int32"), trials
            ).cast(pa.string()),
            "epoch": epoch, "step": epoch * 30, "samples": epoch * 1797, "time": 1_700_000_000_000_000 + at,
        }  # fmt: skip
        columns = [pa.array(known.get(field.name, generator.random(count))).cast(field.type) for field in schema]
        strategy = STRATEGIES[done // ROWS_PER_MERGED_FILE % len(STRATEGIES)]
        files.write(names[strategy].next(), encode(pa.Table.from_arrays(columns, schema=schema), EPOCHS))
        done += count


def ask(root: Path) -> None:
    started = time.perf_counter()
    answer = open_results(root).sql(QUESTION)
    seconds = time.perf_counter() - started
    assert len(answer) == answer["strategy"].nunique() * EPOCHS_PER_TRIAL
    print(int(answer["n"].sum()), seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)


def measure(arguments: argparse.Namespace) -> None:
    if not (arguments.folder / "epochs").exists():
        started = time.perf_counter()
        generate(arguments.folder, arguments.rows)
        print(f"generated in {time.perf_counter() - started:.0f} s", flush=True)
    size = sum(file.stat().st_size for file in arguments.folder.rglob("*.parquet"))
    times, memories = [], []
    for _ in range(arguments.repeats):
        command = [sys.executable, __file__, "--ask", "--folder", str(arguments.folder)]
        rows, seconds, gigabytes = subprocess.run(
            command, check=True, capture_output=True, text=True
        ).stdout.split()
        times.append(float(seconds))
        memories.append(float(gigabytes))
    print(
        f"group-by over {int(rows):,} rows ({size / 1e9:.1f} GB): {statistics.mean(times):.2f} s, "
        f"{min(times):.2f} to {max(times):.2f}; peak memory at most {max(memories):.2f} GiB "
        f"(n = {arguments.repeats}, a new process each); {os.cpu_count()} cores"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--ask", action="store_true", help="ask once in this process")
    arguments = parser.parse_args()
    if arguments.ask:
        ask(arguments.folder)
    else:
        measure(arguments)


if __name__ == "__main__":
    main()
