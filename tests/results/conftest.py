"""Where the tests of the results write to: a local folder, and object storage on this machine."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from pathlib import Path

import pyarrow.fs as pafs
import pytest
from moto.server import ThreadedMotoServer

from searcher.results import objects


@pytest.fixture(scope="session")
def s3_bucket() -> Iterator[str]:
    """A bucket on an S3 server in this process, which pyarrow and subprocesses find by the environment."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        filesystem, _ = pafs.FileSystem.from_uri("s3://results?allow_bucket_creation=true")
        filesystem.create_dir("results")
        yield "s3://results"
    server.stop()


@pytest.fixture
def s3_root(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An address that no other test uses."""
    monkeypatch.setattr(objects, "SETTLE_SECONDS", 0.02)
    return f"{s3_bucket}/{uuid.uuid4().hex}"


@pytest.fixture
def local_root(tmp_path: Path) -> str:
    return str(tmp_path / "results")
