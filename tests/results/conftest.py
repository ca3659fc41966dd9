"""Where the tests of the results write to: a local folder, a disk that can fill, object storage on this machine."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pyarrow.fs as pafs
import pytest
from faulty_storage import FullDisk, S3Server

from searcher.results import objects


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """An S3 server in this process, which pyarrow and subprocesses find by the environment; it has a bucket."""
    with S3Server() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        filesystem, _ = pafs.FileSystem.from_uri("s3://results?allow_bucket_creation=true")
        filesystem.create_dir("results")
        yield server


@pytest.fixture
def s3_root(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """An address that no other test uses."""
    monkeypatch.setattr(objects, "SETTLE_SECONDS", 0.02)
    return f"s3://results/{uuid.uuid4().hex}"


@pytest.fixture
def local_root(tmp_path: Path) -> str:
    return str(tmp_path / "results")


@pytest.fixture
def small_disk() -> Iterator[FullDisk]:
    """A file system of 2 MiB of its own: a tmpfs in a mount namespace, seen through the process that holds it."""
    mounting = "mount -t tmpfs -o size=2m tmpfs /mnt && echo mounted && exec sleep 600"
    holder = subprocess.Popen(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", mounting], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    try:
        if not holder.stdout.readline():
            pytest.skip("this machine lets nobody mount a file system of their own")
        yield FullDisk(Path(f"/proc/{holder.pid}/root/mnt"))
    finally:
        holder.kill()
        holder.communicate()
