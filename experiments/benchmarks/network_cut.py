"""Cuts the network of a worker under a running sweep, each node in a network namespace of its own. Needs root.

    python experiments/benchmarks/network_cut.py --cuts 3 --seed 1

A switch and, behind it, a head without processors and workers with one each: every node has an address, ports and
processes of its own, as a machine has, and token authentication. One sweep runs undisturbed; then, again and again,
the link of a worker goes down at a random moment. The sweep has to end on the others, with each (trial, epoch) once
and the tables of the undisturbed run. Then the link comes back, and the worker is started anew.
"""

from __future__ import annotations

import argparse
import os
import random
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from chaos_cluster import HEALTH, ROOT, SWEEP, TRIALS, check, tables


class Network:
    """Namespaces, joined by a switch that is in one as well: nothing of it is seen from outside."""

    def __init__(self, nodes: list[str]) -> None:
        self._mark = f"sc{os.getpid()}"
        self.addresses = {node: f"10.231.0.{number}" for number, node in enumerate(nodes, 2)}
        self._ip("netns", "add", self.space("switch"))
        self._in("switch", "link", "add", "bridge", "type", "bridge")
        self._in("switch", "link", "set", "bridge", "up")
        for node, address in self.addresses.items():
            self._ip("netns", "add", self.space(node))
            self._in(
                node, "link", "add", "eth0", "type", "veth", "peer", "name", node, "netns", self.space("switch")
            )
            self._in(node, "addr", "add", f"{address}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                self._in(node, "link", "set", device, "up")
            self._in("switch", "link", "set", node, "master", "bridge", "up")

    def space(self, node: str) -> str:
        return f"{self._mark}-{node}"

    def link(self, node: str, state: str) -> None:
        self._in("switch", "link", "set", node, state)

    def remove(self) -> None:
        for node in ("switch", *self.addresses):
            self._ip("netns", "del", self.space(node))

    def _in(self, node: str, *words: str) -> None:
        self._ip("-n", self.space(node), *words)

    def _ip(self, *words: str) -> None:
        subprocess.run(["ip", *words], check=True)


class Cluster:
    """A Ray node in each namespace; a node is one process tree, which dies as a whole."""

    def __init__(self, network: Network, folder: Path) -> None:
        self.network, self._folder = network, folder
        token = folder / "token"
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
        self._environment = os.environ | HEALTH | {
            "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        self._nodes: dict[str, subprocess.Popen[bytes]] = {}
        for node in network.addresses:
            self.start(node)

    @property
    def head(self) -> str:
        return f"{self.network.addresses['head']}:6379"

    def start(self, node: str) -> None:
        if node in self._nodes:
            self._nodes[node].kill()
            self._nodes[node].wait()
        role = ["--head", "--port=6379", "--num-cpus=0", "--dashboard-host=127.0.0.1"]
        words = [
            *(role if node == "head" else [f"--address={self.head}", "--num-cpus=1"]),
            f"--node-ip-address={self.network.addresses[node]}", f"--temp-dir={self._folder}/{node}",
            "--object-store-memory=100000000", "--disable-usage-stats", "--block",
        ]  # fmt: skip
        tree = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "ray", "start", *words]
        self._nodes[node] = self.inside(node, tree)
        self._wait_for(node)

    def inside(self, node: str, words: list[str]) -> subprocess.Popen[bytes]:
        """A process in a node's network."""
        return subprocess.Popen(
            ["ip", "netns", "exec", self.network.space(node), *words],
            env=self._environment,
            stdout=subprocess.DEVNULL,
        )

    def run(self, file: Path) -> subprocess.Popen[bytes]:
        return self.inside("head", [sys.executable, "-m", "searcher.cli", "run", str(file), "--address", self.head])

    def stop(self) -> None:
        for node in reversed(list(self._nodes)):
            self._nodes[node].kill()
            self._nodes[node].wait()

    def _wait_for(self, node: str) -> None:
        look = (
            "import ray, sys; ray.init(sys.argv[1], log_to_driver=False, logging_level='ERROR');"
            "sys.exit(sys.argv[2] not in [n['NodeManagerAddress'] for n in ray.nodes() if n['Alive']])"
        )
        for _ in range(30):
            time.sleep(1)
            words = [sys.executable, "-c", look, self.head, self.network.addresses[node]]
            if self.inside("head", words).wait() == 0:
                return
        raise RuntimeError(f"node {node} did not start")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", choices=list(TRIALS), default="single")
    parser.add_argument("--cuts", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance, wrong_runs = random.Random(options.seed), 0
    sweep = SWEEP + TRIALS[options.trials]
    workers = ["w1", "w2"]
    network = Network(["head", *workers])
    folder = Path(tempfile.mkdtemp(prefix="sn-", dir="/tmp"))
    try:
        cluster = Cluster(network, folder)
        try:
            shutil.copy(ROOT / "experiments/benchmarks/sleeping_tasks.py", folder)
            file = folder / "cut.yaml"
            file.write_text(f"{sweep}results: {folder}/undisturbed\n")
            began = time.monotonic()
            assert cluster.run(file).wait() == 0
            usual = time.monotonic() - began
            print(f"undisturbed: {usual:.0f} s", flush=True)
            expected = tables(folder / "undisturbed")
            for number in range(options.cuts):
                file.write_text(f"{sweep}results: {folder}/run{number}\n")
                driver, began = cluster.run(file), time.monotonic()
                after, node = chance.uniform(0.3 * usual, 0.7 * usual), chance.choice(workers)
                time.sleep(after)
                network.link(node, "down")
                try:
                    code = driver.wait(20 * usual)
                except subprocess.TimeoutExpired:
                    driver.kill()
                    code = -1
                took = time.monotonic() - began
                wrong = [f"exit code {code}"] if code else check(folder / f"run{number}", expected)
                wrong_runs += bool(wrong)
                told = "; ".join(wrong) or "as it should be"
                print(f"{node} cut off after {after:.0f} s, {took:.0f} s in all: {told}", flush=True)
                network.link(node, "up")
                cluster.start(node)
        finally:
            cluster.stop()
    finally:
        network.remove()
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{options.cuts} cuts ({options.trials} trials), {wrong_runs} runs wrong; seed {options.seed}")
    return 1 if wrong_runs else 0


if __name__ == "__main__":
    sys.exit(main())
