"""The nine claims: what each says, which tasks it is tried on, and how its sweeps are named."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
RESULTS = "experiments/claims/results"
"""From the root of the repository, so that no stored sweep names a place on somebody's machine."""

SHALLOW, DEEP, CNN = "mnist1d_mlp", "digits_resnet", "digits"


@dataclass(frozen=True)
class Claim:
    """A claim of the papers.

    Attributes:
        name: its sweep file's.
        source: paper and section.
        tasks: what it is tried on.
        searches: a search is part of it, so that each seed has a sweep of its own, with a search of its own.
    """

    number: int
    name: str
    text: str
    source: str
    tasks: tuple[str, ...]
    searches: bool = False

    @property
    def file(self) -> Path:
        return FOLDER / f"{self.name}.yaml"

    def sweeps(self, task: str, seeds: tuple[int, ...]) -> Iterator[tuple[str, tuple[int, ...]]]:
        """The names of its sweeps on a task, each with its seeds."""
        if not self.searches:
            yield f"{self.name}-{task}", seeds
            return
        for seed in seeds:
            yield f"{self.name}-{task}-{seed}", (seed,)


CLAIMS = (
    Claim(
        1,
        "super_convergence",
        "One cycle reaches the quality of conventional training in a fraction of the iterations (here a quarter)",
        "1708.07120, 1",
        (SHALLOW, CNN, DEEP),
    ),
    Claim(
        2,
        "range_test",
        "The range test's maximum is the usable maximum; a tenth to a twentieth of it is a good start",
        "1803.09820, 4.1",
        (SHALLOW, CNN),
        searches=True,
    ),
    Claim(
        3,
        "cyclical_momentum",
        "Cyclical momentum is at least as good as decreasing or constant momentum",
        "1803.09820, 4.3",
        (SHALLOW, DEEP),
    ),
    Claim(4, "momentum_range_test", "A momentum range test is not useful", "1803.09820, 4.3", (SHALLOW, CNN)),
    Claim(
        5,
        "rate_regularizes",
        "A larger learning rate regularizes, so other regularization must go down",
        "1708.07120, 5",
        (SHALLOW, CNN),
    ),
    Claim(
        6,
        "weight_decay_by_range_tests",
        "Weight decay chosen by range tests is as good as by full training",
        "1803.09820, 4.4",
        (SHALLOW, CNN),
        searches=True,
    ),
    Claim(
        7,
        "larger_batch",
        "A larger batch with a rate to match does as well in less time",
        "1803.09820, 4.2",
        (SHALLOW, CNN),
    ),
    Claim(
        8,
        "early_diagnosis",
        "The diagnosis after a quarter of the epochs agrees with the one at the end",
        "1803.09820, 3",
        (SHALLOW, CNN),
    ),
    Claim(9, "annihilation", "The annihilation phase adds something", "1708.07120, 3", (SHALLOW, CNN)),
)
