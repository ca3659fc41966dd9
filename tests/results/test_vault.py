"""A sweep's checkpoints are found again by the run that resumes it."""

from pathlib import Path

import pytest
from result_examples import sweep_row

from searcher.results import writer
from searcher.results.checkpoints import vault_of
from searcher.results.store import Store


# Binary fractions: written with six digits and read back from whole microseconds, the first two are not the same.
@pytest.mark.parametrize("began", [1764105045.9827855, 1764105045.1000025, 1764105045.25])
def test_whenever_the_sweep_began(began: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer.time, "time", lambda: began)
    with Store(tmp_path).begin(sweep_row()) as sweep:
        vault_of(tmp_path, "demo", sweep.created).save("trial", b"weights")
        sweep.close("interrupted")
    with Store(tmp_path).begin(sweep_row(), mode="resume") as resumed:
        assert vault_of(tmp_path, "demo", resumed.created).load("trial") == b"weights"
