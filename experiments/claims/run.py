"""Runs the sweeps of the claims, those that are missing: `python experiments/claims/run.py [CLAIM ...]`.

From the root of the repository. It may be interrupted at any time: what was measured is kept, and the next call
goes on. `--task` runs only that task, `--minutes` begins no further sweep after so many minutes.
"""

from __future__ import annotations

import argparse
import os
import time

from catalogue import CLAIMS, FOLDER, RESULTS, Claim

import searcher
from searcher.errors import NothingFoundError, SearcherError
from searcher.execution.runner import connected
from searcher.progress import Progress


def is_complete(sweep: str) -> bool | None:
    """None for a sweep that was never begun."""
    try:
        (status,) = searcher.open_results(RESULTS).sweeps(sweep=sweep)["status"]
    except NothingFoundError:
        return None
    return bool(status == "completed")


def run_claim(claim: Claim, only_task: str | None, deadline: float) -> None:
    seeds = searcher.load_sweep(claim.file).seeds
    for task in claim.tasks:
        for name, some_seeds in claim.sweeps(task, tuple(seeds)):
            complete = is_complete(name)
            if complete or (only_task not in (None, task)) or time.monotonic() > deadline:
                continue
            print(f"claim {claim.number}: {name}", flush=True)
            changes = [f"name={name}", f"task={task}", f"seeds={list(some_seeds)}"]
            sweep = searcher.load_sweep(claim.file, changes)
            mode = "new" if complete is None else "resume"
            searcher.run(sweep, FOLDER, mode=mode, observer=Progress())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("claims", nargs="*", metavar="CLAIM", help=", ".join(claim.name for claim in CLAIMS))
    parser.add_argument("--task")
    parser.add_argument("--minutes", type=float, default=float("inf"))
    asked = parser.parse_args()
    if unknown := set(asked.claims) - {claim.name for claim in CLAIMS}:
        parser.error(f"there is no claim {', '.join(sorted(unknown))}")
    os.chdir(FOLDER.parents[1])
    deadline = time.monotonic() + 60 * asked.minutes
    try:
        with connected(None):  # one Ray for all sweeps
            for claim in CLAIMS:
                if not asked.claims or claim.name in asked.claims:
                    run_claim(claim, asked.task, deadline)
    except KeyboardInterrupt:
        parser.exit(130, "interrupted: what was measured is kept, and the next call goes on\n")
    except SearcherError as error:
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    main()
