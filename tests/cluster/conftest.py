"""One cluster of a head and two workers for all tests here that leave it whole; it starts in about 20 s."""

from collections.abc import Iterator

import pytest
from local_cluster import LocalCluster, local_cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[LocalCluster]:
    """Token authentication, no CPU on the head, one CPU and one logical GPU on each worker."""
    with local_cluster(workers=2, cpus=1, gpus=1) as started:
        yield started
