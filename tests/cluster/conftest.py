"""One cluster of a head and two workers for all tests here; the one that breaks it comes last and mends it."""

from collections.abc import Iterator

import pytest
from local_cluster import LocalCluster, local_cluster

QUICK = {
    # A node whose processes were killed is noticed after some 3 s.
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "10000",
    "RAY_health_check_failure_threshold": "3",
}


@pytest.fixture(scope="session")
def cluster() -> Iterator[LocalCluster]:
    """Token authentication, no CPU on the head, one CPU and one logical GPU on each worker."""
    with local_cluster(workers=2, cpus=1, gpus=1, extra=QUICK) as started:
        yield started
