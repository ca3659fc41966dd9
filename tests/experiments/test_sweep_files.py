"""Every sweep file that is kept can be run: its task is had and its strategies are built, as `validate` does it."""

from pathlib import Path

import pytest
from training.image_files import write_cifar10, write_cifar100, write_mnist

from searcher.study import prepare
from searcher.sweep import load_sweep
from searcher.training.tasks import _load

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
FILES = sorted(EXPERIMENTS.rglob("*.yaml"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small sets in the published formats."""
    folder = tmp_path_factory.mktemp("data")
    for write in (write_cifar10, write_cifar100, write_mnist):
        write(folder)
    return folder


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(EXPERIMENTS).as_posix())
def test_it_can_be_run(file: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if file.parent.name == "papers":
        monkeypatch.setenv("SEARCHER_DATA", str(data))
        _load.cache_clear()
    prepared = prepare(load_sweep(file), file.parent)
    assert prepared.sweep.name == file.stem
    assert all(plan.trials >= len(prepared.sweep.seeds) for plan in prepared.plans.values())


def test_the_runs_are_as_long_as_the_papers_say() -> None:
    """45,000 images in batches of 1,000 are 45 iterations an epoch, of 10,000 and 80,000."""
    for name in ("cifar10_resnet56", "cifar100_resnet56"):
        sweep = load_sweep(EXPERIMENTS / "papers" / f"{name}.yaml")
        lengths = {entry.label: 45 * (entry.spec.epochs or sweep.epochs) for entry in sweep.strategies}
        assert lengths == {"piecewise": 80_010, "one_cycle_published": 9_990, "one_cycle": 9_990}
