"""How many carriers a sweep may have now: what the nodes hold, what the user allows, its share beside other sweeps.

Ray gives resources to whoever asks first, and a sweep that keeps its actors would keep them to its end. So every
sweep writes into Ray's key-value store what a carrier of it needs and how many it has and could use, reads what the
others wrote, and takes no more than its share. No one of them is in charge; whose driver is dead does not count.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import ray
from ray.experimental import internal_kv

from searcher.algorithms.fair_share import Claim, fair_shares
from searcher.errors import ExecutionError

LOOK_EVERY = 2.0
"""Seconds between two looks at the others."""

PATIENCE = 30.0
"""So many seconds a sweep within its share waits for others to end carriers; then they end some in their midst."""

HEAD_SECONDS = 40.0
"""A head may be out of reach for so long: after 60 s Ray would end this process without a word of ours."""

LEAVE_SECONDS = 2.0
"""A head may take so long to note that a sweep is over."""

AHEAD = 16
"""So many carriers may wait for nodes that an autoscaler is to start; on other clusters one waits."""

STARTABLE = "SEARCHER_STARTABLE_NODES"
"""The variable in the head's environment that says what an autoscaler may start; Ray itself does not tell."""

_NAMESPACE = b"searcher"
_PREFIX = b"sweep:"


class Room:
    """The room of one sweep on the Ray that this process is connected to.

    Args:
        needs: of one carrier, by resource.
        limit: carriers that the user allows; None: any number.

    Attributes:
        full: whether others share the cluster and this sweep has all that is due to it: what it does not use, such
            as a process that is kept for the next carrier, is to be given back.
    """

    def __init__(self, needs: Mapping[str, float], limit: int | None) -> None:
        self.full = False
        self._needs = dict(needs)
        self._limit = limit
        self._key = _PREFIX + ray.get_runtime_context().get_job_id().encode()
        self._looked = float("-inf")
        self._others_there = False
        self._carriers = 0
        self._crowded_since: float | None = None

    def carriers(self, held: int, running: int, hungry: bool) -> int:
        """How many carriers the sweep may have.

        Args:
            held: that it has, those that wait for a place included.
            running: those of them that have one.
            hungry: whether it could use more when it was asked last.

        Raises:
            ExecutionError: the head was out of reach for too long.
        """
        now = time.monotonic()
        if now - self._looked > LOOK_EVERY:
            self._looked = now
            _patiently(lambda: self._look(held, running, hungry))
        self.full = self._others_there and held >= self._carriers
        return self._carriers

    def gives_back(self) -> bool:
        """Whether a carrier is to be ended now, as others have waited long enough for what is beyond the share."""
        now = time.monotonic()
        if self._crowded_since is None or now - self._crowded_since < PATIENCE:
            return False
        self._crowded_since = now - PATIENCE + 2 * LOOK_EVERY  # the next after a look at what this one changed
        return True

    def leave(self) -> None:
        """The sweep needs nothing any more. Whatever ended it is not hidden by a head that is no more, which is not
        waited for: others do not count a sweep whose driver has gone."""

        def forget() -> None:
            with suppress(Exception):
                internal_kv._internal_kv_del(self._key, namespace=_NAMESPACE)

        forgetting = threading.Thread(target=forget, name="searcher-leaves", daemon=True)
        forgetting.start()
        forgetting.join(LEAVE_SECONDS)

    def _look(self, held: int, running: int, hungry: bool) -> None:
        room = workers(self._needs)
        most = room + (AHEAD if startable() else 1)
        most = min(most, self._limit or most)
        # One that has nothing to train now may have when the next result is there.
        wants = most if hungry else min(most, held + 1)
        mine = {"needs": self._needs, "wants": wants, "running": running, "waits": hungry or held > running}
        internal_kv._internal_kv_put(self._key, json.dumps(mine), overwrite=True, namespace=_NAMESPACE)
        others = self._others()
        *due, share = fair_shares(_total(), [Claim(one["needs"], one["wants"]) for one in [*others, mine]])
        self._others_there = bool(others)
        self._carriers = min(most, max(1, share)) if others else most
        waiting = [
            one for one, carriers in zip(others, due, strict=True) if one["waits"] and one["running"] < carriers
        ]
        if not waiting or running <= self._carriers:
            self._crowded_since = None
        elif self._crowded_since is None:
            self._crowded_since = time.monotonic()

    def _others(self) -> list[dict[str, Any]]:
        """What the other sweeps wrote."""
        keys = [key for key in internal_kv._internal_kv_list(_PREFIX, namespace=_NAMESPACE) if key != self._key]
        if not keys:
            return []
        living = {job["JobID"] for job in ray._private.state.state.job_table() if not job["IsDead"]}
        found = []
        for key in sorted(keys):
            if key.removeprefix(_PREFIX).decode() not in living:
                internal_kv._internal_kv_del(key, namespace=_NAMESPACE)
            elif written := internal_kv._internal_kv_get(key, namespace=_NAMESPACE):
                found.append(json.loads(written))
        return found


def _patiently(look: Callable[[], None]) -> None:
    """Looks, but waits no longer than `HEAD_SECONDS` for a head that may be no more.

    Raises:
        ExecutionError: it did not answer.
    """
    raised: list[Exception] = []

    def attempt() -> None:
        try:
            look()
        except Exception as error:
            raised.append(error)

    looking = threading.Thread(target=attempt, name="searcher-looks", daemon=True)
    looking.start()
    looking.join(HEAD_SECONDS)
    if looking.is_alive():
        raise ExecutionError(
            f"the head of the Ray cluster was out of reach for {HEAD_SECONDS:g} s: what was measured is kept; when "
            "it is back, go on with --resume"
        )
    if raised:
        raise raised[0]


def workers(needs: Mapping[str, float]) -> int:
    """How many carriers the nodes that are there hold at a time."""
    return sum(fitting(node, needs) for node in alive())


def workers_to_come(needs: Mapping[str, float]) -> int:
    """How many carriers all nodes hold that an autoscaler may start."""
    return sum(count * fitting(node, needs) for count, node in startable())


def fitting(node: Mapping[str, float], needs: Mapping[str, float]) -> int:
    """How many carriers a node with these resources holds."""
    return min(int(node.get(name, 0) / amount + 1e-9) for name, amount in needs.items())


def alive() -> list[dict[str, float]]:
    """The resources of each node that is there."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def startable() -> list[tuple[int, dict[str, float]]]:
    """How many nodes of each kind the autoscaler may start, and their resources; none where `STARTABLE` is not set.

    Raises:
        ExecutionError: the variable does not hold what it should.
    """
    text = os.environ.get(STARTABLE, "[]")
    try:
        return [
            (int(kind["count"]), {name: float(amount) for name, amount in kind["resources"].items()})
            for kind in json.loads(text)
        ]
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ExecutionError(
            f'{STARTABLE}: got {text!r}; must be such as [{{"count": 8, "resources": {{"CPU": 8, "GPU": 1}}}}]'
        ) from None


def _total() -> dict[str, float]:
    total: dict[str, float] = {}
    for node in alive():
        for name, amount in node.items():
            total[name] = total.get(name, 0) + amount
    return total
