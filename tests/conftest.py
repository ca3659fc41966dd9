"""What all tests share: one Ray for the whole session."""

import os
from collections.abc import Iterator

import pytest

# Before torch is imported: on tiny tensors two threads are slower than one, and far slower on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """A real Ray with two CPUs, which in-process runs find and use."""
    import ray

    ray.init(
        "local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR",
        object_store_memory=100_000_000,
    )  # fmt: skip
    yield
    ray.shutdown()
