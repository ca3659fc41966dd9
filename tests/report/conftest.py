"""One stored sweep for all tests of the report."""

from pathlib import Path

import pytest
from sample_sweep import demo_records, sample, store

from searcher.comparing import open_results
from searcher.report.source import Source, read_source


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with the sweep `demo`."""
    root = tmp_path_factory.mktemp("demo") / "results"
    sweep = sample()
    store(root, sweep, demo_records(sweep))
    return root


@pytest.fixture(scope="session")
def source(demo: Path) -> Source:
    return read_source(open_results(demo), "demo")
