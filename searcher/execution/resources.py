"""What one carrier occupies, and what the nodes of a Ray have of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from searcher.errors import ExecutionError
from searcher.execution.room import alive, fitting, startable, workers, workers_to_come

_TYPE = "accelerator_type:"
"""What Ray's name of a kind of accelerator begins with."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What one carrier needs. `max_concurrent`: carriers at a time; None: as many as fit."""

    cpu: float = 1.0
    gpu: float = 0.0
    memory: int | None = None
    accelerator_type: str | None = None
    max_concurrent: int | None = None

    def bundle(self) -> dict[str, float]:
        """As Ray counts them; `memory` is in bytes."""
        bundle = {"CPU": self.cpu, "GPU": self.gpu, "memory": float(self.memory or 0)}
        if self.accelerator_type:
            # Ray's way to ask for a node that has one: a sliver of a resource named after it.
            bundle[f"{_TYPE}{self.accelerator_type}"] = 0.001
        return {name: amount for name, amount in bundle.items() if amount}


def check_resources(resources: Resources) -> None:
    """Tune would wait for ever for resources that no node has.

    Raises:
        ExecutionError: says what a trial asks for, and the most that a node has.
    """
    needed = resources.bundle()
    nodes = [*alive(), *(node for count, node in startable() if count)]
    if any(fitting(node, needed) for node in nodes):
        return
    most = {name: max((node.get(name, 0) for node in nodes), default=0) for name in needed}
    short = [name for name in needed if needed[name] > most[name]] or list(needed)  # or no node has all of them
    told = ", ".join(_told(name, needed[name], most[name], nodes) for name in short)
    raise ExecutionError(f"resources: no node can give a trial what it asks for: {told}")


def _told(name: str, needed: float, most: float, nodes: Sequence[Mapping[str, float]]) -> str:
    if name.startswith(_TYPE):
        types = sorted({one.removeprefix(_TYPE) for node in nodes for one in node if one.startswith(_TYPE)})
        return f"accelerator_type {name.removeprefix(_TYPE)} (the nodes have {', '.join(types) or 'none'})"
    if name == "memory":
        return f"memory {needed / 2**30:.1f} GiB (the most that a node has is {most / 2**30:.1f} GiB)"
    return f"{name} {needed:g} (the most that a node has is {most:g})"


def carriers_at_once(resources: Resources) -> int:
    """How many carriers there may be at a time, those on nodes included that an autoscaler is to start."""
    needed = resources.bundle()
    most = max(1, workers(needed), workers_to_come(needed))
    return min(most, resources.max_concurrent or most)
