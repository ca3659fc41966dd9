"""The batch size: its bound, what a probe tries, and what is chosen from what it measured."""

import pytest

from searcher.algorithms.batch_size import choose_batch_size, fits, largest_useful, sizes_up_to
from searcher.records import StepRecord


def tried(size: int, seconds: float | None, memory: float | None = None) -> StepRecord:
    return StepRecord(
        trial_id="", strategy="", step=1, samples=0, lr=0.1, momentum=0.9, train_loss=0.0,
        batch_size=size, seconds=seconds, memory=memory,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("train_size", "epochs", "expected"),
    [
        (50_000, 40, 256),  # 500 samples a step would leave 4,000 updates
        (3_000, 40, 32),  # the least
        (100_000_000, 40, 65_536),  # the most
        (20, 40, 16),  # no more than there are
    ],
)
def test_a_cycle_keeps_its_updates(train_size: int, epochs: int, expected: int) -> None:
    assert largest_useful(train_size, epochs) == expected


def test_a_probe_tries_powers_of_two() -> None:
    assert sizes_up_to(256) == [32, 64, 128, 256]
    assert sizes_up_to(16) == [16]


@pytest.mark.parametrize(
    ("measured", "expected", "words"),
    [
        # a CPU: the throughput levels off at 64
        (
            [tried(32, 0.010), tried(64, 0.012), tried(128, 0.023), tried(256, 0.046)],
            64,
            "near the best throughput",
        ),
        # a CPU that is still gaining at the bound
        ([tried(32, 0.010), tried(64, 0.012), tried(128, 0.014), tried(256, 0.018)], 256, "keeps its updates"),
        # a GPU: 256 would leave too little memory
        ([tried(64, 0.01, 0.3), tried(128, 0.01, 0.6), tried(256, 0.01, 0.95)], 128, "60% of the memory"),
        # a GPU: 128 ran out of memory
        ([tried(64, 0.01, 0.7), tried(128, None, 1.0)], 64, "70% of the memory"),
        # a GPU that holds the bound
        ([tried(128, 0.01, 0.1), tried(256, 0.01, 0.2)], 256, "keeps its updates"),
        # found on the way down
        ([tried(32, None, 1.0), tried(16, None, 1.0), tried(8, 0.1, 0.6)], 8, "60% of the memory"),
    ],
)
def test_the_choice(measured: list[StepRecord], expected: int, words: str) -> None:
    chosen = choose_batch_size(measured, 256)
    assert chosen is not None
    assert chosen[0] == expected
    assert words in chosen[1]


def test_nothing_fits() -> None:
    assert choose_batch_size([tried(1, None, 1.0)], 32) is None
    assert not fits(tried(1, 0.1, 0.81))
