"""What a sweep may occupy, and what is said of resources that no node has, on a real Ray of two CPUs."""

import json
import os
import signal
import time
from collections.abc import Iterator

import pytest
import ray

from searcher.errors import ExecutionError
from searcher.execution.resources import Resources, check_resources
from searcher.execution.room import AHEAD, LEAVE_SECONDS, STARTABLE, Room

EIGHT = json.dumps([{"count": 8, "resources": {"CPU": 8, "GPU": 1}}, {"count": 0, "resources": {"GPU": 4}}])


@pytest.mark.parametrize(
    ("resources", "told"),
    [
        (Resources(cpu=3), r"CPU 3 \(the most that a node has is 2\)"),
        (Resources(gpu=0.5), r"GPU 0.5 \(the most that a node has is 0\)"),
        (Resources(memory=10**15), r"memory 931322.6 GiB \(the most that a node has is [\d.]+ GiB\)"),
        (Resources(accelerator_type="A100"), r"accelerator_type A100 \(the nodes have none\)"),
    ],
)
def test_what_no_node_has_is_refused(ray_session: object, resources: Resources, told: str) -> None:
    with pytest.raises(ExecutionError, match=f"resources: no node can give a trial what it asks for: {told}$"):
        check_resources(resources)


def test_nodes_that_an_autoscaler_may_start_count(ray_session: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STARTABLE, EIGHT)
    check_resources(Resources(cpu=8, gpu=1))
    with pytest.raises(ExecutionError, match=r"GPU 4 \(the most that a node has is 1\)"):
        check_resources(Resources(gpu=4))
    apart = [{"count": 1, "resources": {"CPU": 8, "accelerator_type:L4": 1}}, {"count": 1, "resources": {"GPU": 4}}]
    monkeypatch.setenv(STARTABLE, json.dumps(apart))
    with pytest.raises(ExecutionError, match=r"CPU 8 \(the most .* 8\), GPU 4 \(the most .* 4\)$"):
        check_resources(Resources(cpu=8, gpu=4))
    with pytest.raises(ExecutionError, match=r"asks for: accelerator_type A100 \(the nodes have L4\)$"):
        check_resources(Resources(accelerator_type="A100"))
    monkeypatch.setenv(STARTABLE, "8 GPUs")
    with pytest.raises(ExecutionError, match=f"{STARTABLE}: got '8 GPUs'; must be such as"):
        check_resources(Resources())


def test_a_sweep_alone_may_have_what_the_nodes_hold_and_one_that_waits(
    ray_session: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    def room(limit: int | None = None, **needs: float) -> int:
        it = Room(needs, limit)
        carriers = it.carriers(held=0, running=0, hungry=True)
        it.leave()
        return carriers

    assert room(CPU=1) == 2 + 1
    assert room(CPU=0.1) == 20 + 1
    assert room(CPU=1, limit=1) == 1
    monkeypatch.setenv(STARTABLE, EIGHT)
    assert room(CPU=1) == 2 + AHEAD


@pytest.fixture
def silent_head(ray_session: object) -> Iterator[None]:
    """The process that a cluster's head is stands still, as if its machine were cut off."""
    (head,) = ray._private.worker._global_node.all_processes["gcs_server"]
    os.kill(head.process.pid, signal.SIGSTOP)
    yield
    os.kill(head.process.pid, signal.SIGCONT)


def test_a_head_out_of_reach_ends_the_run_in_one_line_that_leaving_does_not_hide(
    ray_session: object, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("searcher.execution.room.HEAD_SECONDS", 1.0)
    room = Room({"CPU": 1}, None)
    request.getfixturevalue("silent_head")
    with pytest.raises(ExecutionError, match="the head of the Ray cluster was out of reach for 1 s: .*--resume"):
        room.carriers(held=0, running=0, hungry=True)
    began = time.monotonic()
    room.leave()
    assert time.monotonic() - began < LEAVE_SECONDS + 5
