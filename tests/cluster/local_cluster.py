"""A real cluster on this machine for the tests: `cluster/local.sh`, started, asked for nodes, and stopped."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "cluster/local.sh"


S3_USER = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""Of the S3 servers that tests start, in the environment of every node, as a role's credentials would be."""


@dataclass(frozen=True)
class LocalCluster:
    """A running cluster.

    Attributes:
        folder: what `local.sh` keeps there: the token, cluster.env and a folder for each node.
        address: of the Jobs API, `http://127.0.0.1:PORT`.
        gcs: of Ray itself, for `ray.init` of a driver that has the token.
        extra: what the nodes' environment has beyond this process's, such as tuned health checks, and SLOWLY.
    """

    folder: Path
    address: str
    gcs: str
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def token(self) -> str:
        return self.token_path.read_text()

    @property
    def token_path(self) -> Path:
        return self.folder / "token"

    @contextmanager
    def slow(self) -> Iterator[None]:
        """Inside, an epoch of `patient_task` lasts a second on the nodes."""
        file = Path(self.extra["SLOWLY"])
        file.touch()
        try:
            yield
        finally:
            file.unlink()

    def environment(self, **more: str) -> dict[str, str]:
        """For a client's process: this process's, with the token's path, and without another Ray's address."""
        without = {"RAY_ADDRESS", "RAY_AUTH_TOKEN", "RAY_API_SERVER_ADDRESS"}
        mine = {name: value for name, value in os.environ.items() if name not in without}
        return mine | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.token_path)} | more

    def call(self, *words: str) -> None:
        """`local.sh WORD FOLDER …`."""
        run_script(words[0], str(self.folder), *words[1:], extra=self.extra)

    def start_worker(self, name: str, *options: str) -> None:
        """Adds a node, or starts one again that was killed: `w1`, `w2`, …"""
        self.call("worker", name, *options)

    def start_workers(self, *names: str) -> None:
        """The same with several at once."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(self.start_worker, names))

    def kill(self, *names: str) -> None:
        """`kill -9` of all processes of nodes: `head`, `w1`, …"""
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda name: self.call("kill", name), names))


@contextmanager
def local_cluster(
    workers: int = 2, *, cpus: float = 1, gpus: float = 0, extra: Mapping[str, str] | None = None
) -> Iterator[LocalCluster]:
    """A head without CPUs and so many workers; a cluster of one's own, for tests that break it."""
    # Not pytest's folder: the path of a socket has at most 107 characters.
    parent = Path(tempfile.mkdtemp(prefix="sc-", dir="/tmp"))
    folder, home = parent / "c", parent / "home"
    home.mkdir()
    # Below HOME jobs keep results that are not on shared storage.
    extra = {"HOME": str(home), "SLOWLY": str(parent / "slowly")} | S3_USER | dict(extra or {})
    options = ["--workers", str(workers), "--cpus", str(cpus), "--gpus", str(gpus), "--dashboard-port", "0"]
    try:
        run_script("start", str(folder), *options, extra=extra)
        words = (folder / "cluster.env").read_text().replace("export ", "").split()
        values = dict(word.split("=", 1) for word in words)
        yield LocalCluster(folder, values["RAY_API_SERVER_ADDRESS"], f"127.0.0.2:{values['GCS_PORT']}", extra)
    finally:
        if folder.exists():
            nodes = [node.name for node in folder.iterdir() if node.is_dir()]
            with ThreadPoolExecutor() as pool:  # at once: nothing is left that would have to end in order
                list(pool.map(lambda node: run_script("kill", str(folder), node), nodes))
            run_script("stop", str(folder))
        shutil.rmtree(parent, ignore_errors=True)


def run_script(*words: str, extra: Mapping[str, str] | None = None) -> str:
    """Runs `local.sh` with this Python's Ray and returns what it wrote; fails with it if it failed."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"} | dict(extra or {})
    done = subprocess.run([str(SCRIPT), *words], env=environment, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def wait_until(there: Callable[[], bool], otherwise: str, seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end, otherwise
        time.sleep(0.1)
