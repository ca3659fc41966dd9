"""The token of a cluster, as this machine holds it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from searcher.errors import ExecutionError


def read_token() -> str | None:
    """The token, where Ray looks for it: RAY_AUTH_TOKEN, the file at RAY_AUTH_TOKEN_PATH, ~/.ray/auth_token.

    Raises:
        ExecutionError: the file that was named is not there, is empty, or can be read by others.
    """
    if token := os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return token
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named or "~/.ray/auth_token").expanduser()
    if not path.is_file():
        if named:
            raise ExecutionError(f"RAY_AUTH_TOKEN_PATH: there is no file {path}")
        return None
    if others := stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise ExecutionError(f"token: {path} is open to others ({others:03o}): chmod 600 {path}")
    if not (token := path.read_text().strip()):
        raise ExecutionError(f"token: {path} is empty")
    return token
