"""Draws the table of the claims in experiments/README.md: `python experiments/claims/table.py`.

From the stored results. A claim on a task whose sweeps are not all complete is said to be not yet run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from catalogue import CLAIMS, FOLDER, Claim
from evidence import Evidence, Finding, together
from judges import JUDGES
from run import is_complete

import searcher

PAGE = FOLDER.parent / "README.md"
BEGIN, END = "<!-- claims: written by claims/table.py -->", "<!-- end of claims -->"


def find(claim: Claim, task: str) -> Finding | None:
    """None where something is not yet measured."""
    seeds = searcher.load_sweep(claim.file).seeds
    if not all(is_complete(name) for name, _ in claim.sweeps(task, tuple(seeds))):
        return None
    return JUDGES[claim.name](Evidence(claim, task, seeds))


def lines() -> Iterator[str]:
    yield "| | claim | source | task | measured: mean ± half of the 95 % interval | n | verdict |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for claim in CLAIMS:
        findings = {task: find(claim, task) for task in claim.tasks}
        verdicts = [one.verdict for one in findings.values() if one is not None]
        for task, finding in findings.items():
            first = task == claim.tasks[0]
            head = f"| {claim.number} | {claim.text} | {claim.source} " if first else "| | | "
            if finding is None:
                yield f"{head}| `{task}` | not yet run | | |"
            else:
                yield f"{head}| `{task}` | {'; '.join(finding.numbers)} | {finding.n} | {finding.verdict} |"
        if len(verdicts) > 1:
            yield f"| | **together** | | | | | **{together(verdicts)}** |"


def write(table: str) -> None:
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}")


if __name__ == "__main__":
    os.chdir(FOLDER.parents[1])
    write("\n".join(lines()))
