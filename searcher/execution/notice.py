"""Whether the node of this process is about to be taken away, so that its trials save themselves first.

Ray knows it of a node that drains: whoever learns that a machine will go (a cloud's notice to a spot machine, a pod
that is told to end) tells Ray so, see `searcher.job.notice`.
"""

from __future__ import annotations

import time

import ray
from ray.exceptions import RayError

LOOK_EVERY = 2.0
"""Seconds between two looks; each is one small question to the head."""


class Notice:
    """Asked after each epoch; true from the moment at which the node was given notice."""

    def __init__(self) -> None:
        self._node = ray.get_runtime_context().get_node_id()
        self._given = False
        self._next = 0.0

    def __call__(self) -> bool:
        now = time.monotonic()
        if not self._given and now >= self._next:
            self._next = now + LOOK_EVERY
            self._given = self._node in draining()
        return self._given


def draining() -> dict[str, int]:
    """The nodes that drain, by their id in hexadecimal; none where the head does not answer in time."""
    try:
        found: dict[str, int] = ray._private.worker.global_worker.gcs_client.get_draining_nodes(timeout=1.0)
    except (RayError, OSError):
        return {}
    return found
