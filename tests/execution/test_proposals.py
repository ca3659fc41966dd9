"""What is trained next, and what a resumed or disturbed sweep knows of what was trained before."""

from pathlib import Path

from searcher import study
from searcher.algorithms.packing import LEAST_STEPS, Packing
from searcher.execution.carrier import Load
from searcher.execution.packer import Memory, Packer
from searcher.execution.search import Proposals
from searcher.records import History, Record
from searcher.results.checkpoints import CheckpointVault
from searcher.sweep import parse_sweep

HERE = Path(__file__).parents[1]
FUSED = Packing(16, False, "measured")


class Driver:
    """What a driver holds of a sweep of eight trials, four for each of two workers.

    Args:
        notes: where it finds and keeps how trials are packed.
        lengths: epochs of each trial; 144 samples in batches of 48 are 3 steps an epoch.
    """

    def __init__(self, notes: CheckpointVault | None = None, resumed: bool = False, device: str = "gpu") -> None:
        grid = {"lr": [0.01 * it for it in range(1, 9)], "momentum": 0.9, "weight_decay": 0, "batch_size": 48}
        sweep = parse_sweep({
            "name": "s", "task": "tiny_task.py:make_task", "epochs": LEAST_STEPS, "seeds": [0],
            "strategies": [{"grid": grid | {"schedule": "step"}}],
        })  # fmt: skip
        strategies = study.prepare(sweep, HERE).strategies
        memory = Memory(notes, device) if notes else None
        self.packer = Packer(strategies, workers=2, fuse=True, memory=memory)
        self.stored: list[Record] = []
        histories = {"grid": History()}
        self.proposals = Proposals(strategies, histories, self.stored.extend, 3, self.packer, resumed)

    def load(self) -> Load:
        return Load(
            trials=self.proposals.next(), task="", folder="", digest="", stop="off", cpu=1, gpu=0
        )  # fmt: skip


def test_only_what_was_handed_out_before_is_looked_up() -> None:
    driver = Driver()
    first, second = driver.load(), driver.load()
    assert not any(map(driver.proposals.begun, [*first.trials, *second.trials]))
    # None of its epochs has reached the driver, but a checkpoint may have been written.
    driver.proposals.lost(first, "its node died")
    driver.proposals.given_back(second)
    again = [trial for _ in range(3) for trial in driver.load().trials]
    assert sorted(again, key=repr) == sorted([*first.trials, *second.trials], key=repr)
    assert all(map(driver.proposals.begun, again))


def test_a_resumed_sweep_looks_up_every_trial() -> None:
    """The driver that died may not have stored an epoch of a trial whose checkpoint was written."""
    driver = Driver(resumed=True)
    assert all(map(driver.proposals.begun, driver.load().trials))


def test_a_sweep_packs_alike_on_every_node_and_after_a_resume(tmp_path: Path) -> None:
    notes = CheckpointVault(str(tmp_path), "s", "1", suffix="json")
    driver = Driver(notes)
    trial = driver.load().trials[0]
    assert driver.packer.packing(trial) is None
    driver.packer.learn(trial, FUSED)
    driver.packer.learn(trial, Packing(1, False, "measured by a busier node"))
    assert driver.packer.packing(trial) == FUSED
    assert Driver(notes, resumed=True).packer.packing(trial) == FUSED
    assert Driver(notes, resumed=True, device="1 threads").packer.packing(trial) is None


def test_a_note_that_cannot_be_read_costs_a_measurement(tmp_path: Path) -> None:
    notes = CheckpointVault(str(tmp_path), "s", "1", suffix="json")
    notes.save(Memory.NAME, b"half a fi")
    driver = Driver(notes)
    assert driver.packer.packing(driver.load().trials[0]) is None
