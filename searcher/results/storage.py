"""Opens a results folder by its path or its address."""

from __future__ import annotations

import re
from pathlib import Path

from searcher.results.files import Files
from searcher.results.local import LocalFiles
from searcher.results.objects import connect

# One slash or two: a Path makes one of two. One letter is a drive.
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)", re.DOTALL)


def open_files(root: str | Path) -> Files:
    """The files under a local folder, or an address: `s3://…`, `gs://…`, `abfs://…`, any that fsspec knows.

    Raises:
        ResultsError: the address, or what is needed to reach it, is not known.
    """
    address = _ADDRESS.fullmatch(str(root))
    if address is None:
        return LocalFiles(Path(root), str(root))
    scheme, rest = address.groups()
    if scheme == "file":
        return LocalFiles(Path(f"/{rest}"), str(root))
    return connect(f"{scheme}://{rest}")
