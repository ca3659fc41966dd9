"""The job behind `searcher cluster doctor`: looks at every node from the inside."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from searcher.cluster.doctor import SKEW_SECONDS, Finding
from searcher.cluster.messages import tell
from searcher.results.probe import clear_probes, sees_probe, write_probe

NEEDED = ("torch", "pyarrow", "duckdb", "pandas", "pydantic", "yaml", "rich", "typer", "fsspec")
"""What must be installed on a node beside Ray, for `searcher` itself is sent."""

NODE_SECONDS = 60.0
"""How long a node may take to answer."""


@dataclass
class Seen:
    """What was seen on one node: `storage` is what failed there, `place` the path of the file that it wrote."""

    versions: dict[str, str]
    missing: list[str]
    devices: list[str]
    storage: str = ""
    place: str = ""


def checkup(results: str | None) -> None:
    """Tells the findings of all nodes."""
    import ray

    from searcher.execution.reaching import connected

    mark = secrets.token_hex(8)
    with connected(None):
        nodes = [node for node in ray.nodes() if node["Alive"]]
        looks = {node["NodeID"]: _on(node, look_around).remote(results, mark) for node in nodes}
        findings, seen = [_counted(nodes)], {}
        for node in nodes:
            name = node["NodeManagerAddress"]
            try:
                seen[name] = ray.get(looks[node["NodeID"]], timeout=NODE_SECONDS)
                findings += [*_of_node(name, node, seen[name]), _clock(name, node)]
            except Exception as error:  # whatever a node can do wrong is a finding
                findings.append(Finding(f"node {name}", False, f"does not answer: {str(error).splitlines()[0]}"))
        findings += _alike(seen) + (_of_storage(results, mark, seen) if results else [_NO_STORAGE])
    tell("findings", findings=[asdict(finding) for finding in findings])


_NO_STORAGE = Finding("storage", None, "not looked at: name it with --results s3://… or --results /a/shared/folder")


def _on(node: dict[str, Any], function: Callable[..., Any]) -> Any:
    """A function as a Ray task that runs on this node and nowhere else, and occupies none of its CPUs."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    return ray.remote(function).options(num_cpus=0, max_retries=0, scheduling_strategy=there)


def look_around(results: str | None, mark: str) -> Seen:
    """Runs on a node."""
    import ray

    versions = {"ray": ray.__version__, "python": ".".join(map(str, sys.version_info[:2]))}
    missing = []
    for name in NEEDED:
        try:
            module = import_module(name)
        except Exception as error:  # a broken package fails with anything
            missing.append(f"{name} ({type(error).__name__}: {error})")
        else:
            versions[name] = str(getattr(module, "__version__", ""))
    seen = Seen(versions, missing, _devices())
    if results:
        seen.storage, seen.place = write_probe(os.path.expanduser(results), mark)
    return seen


def _devices() -> list[str]:
    """The GPUs that torch sees on this node, asked of a process of its own: Ray hides them from this one."""
    if not any(Path("/dev").glob("nvidia[0-9]*")):
        return []
    names = "print(*map(torch.cuda.get_device_name, range(torch.cuda.device_count())), sep='\\n')"
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    words = [sys.executable, "-c", f"import torch; {names}"]
    found = subprocess.run(
        words, env=environment, capture_output=True, text=True, timeout=NODE_SECONDS, check=False
    )
    return found.stdout.split("\n")[:-1] if found.returncode == 0 else []


def _counted(nodes: list[dict[str, Any]]) -> Finding:
    total: dict[str, float] = {}
    for node in nodes:
        for name in ("CPU", "GPU"):
            total[name] = total.get(name, 0) + node["Resources"].get(name, 0)
    return Finding(
        "nodes", True, f"{len(nodes)} alive, with {total['CPU']:g} CPUs and {total['GPU']:g} GPUs for trials"
    )


def _of_node(name: str, node: dict[str, Any], seen: Seen) -> list[Finding]:
    found = []
    if seen.missing:
        found.append(Finding(f"node {name}", False, f"does not import {', '.join(seen.missing)}"))
    else:
        told = ", ".join(f"{key} {seen.versions[key]}" for key in ("python", "ray", "torch", "pyarrow"))
        found.append(Finding(f"node {name}", True, told))
    counted = node["Resources"].get("GPU", 0)
    if counted or seen.devices:
        told = f"Ray counts {counted:g}, torch sees {len(seen.devices)}"
        told += f" ({', '.join(sorted(set(seen.devices)))})" if seen.devices else ""
        found.append(Finding(f"GPUs of {name}", counted <= len(seen.devices), told))
    return found


def _clock(name: str, node: dict[str, Any]) -> Finding:
    import ray

    before = time.time()
    there: float = ray.get(_on(node, _now).remote(), timeout=NODE_SECONDS)
    skew = max(before - there, there - time.time(), 0.0)  # it read its clock somewhere between
    return Finding(f"clock of {name}", skew <= SKEW_SECONDS, f"{skew:.1f} s against the head")


def _now() -> float:
    return time.time()


def _alike(seen: dict[str, Seen]) -> list[Finding]:
    """Another torch gives other numbers, so the same sweep would not give the same results."""
    torches = {name: there.versions.get("torch", "none") for name, there in seen.items()}
    if len(set(torches.values())) < 2:
        return []
    return [Finding("torch", False, "differs: " + ", ".join(f"{name} has {it}" for name, it in torches.items()))]


def _of_storage(results: str, mark: str, seen: dict[str, Seen]) -> list[Finding]:
    """Whether each node could write, and whether this one, the head, sees what it wrote."""
    found, root = [], os.path.expanduser(results)
    for name, there in seen.items():
        told = there.storage
        if not told and not sees_probe(root, there.place):
            told = "writes a folder of its own, which the head does not see: it is not shared"
        found.append(
            Finding(f"storage from {name}", not told, told or f"{results} can be written, and the head sees it")
        )
    clear_probes(root, mark)
    return found
