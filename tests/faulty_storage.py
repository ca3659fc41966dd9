"""Real storage that can be made to fail: a disk without room, and an S3 server that refuses uploads."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from moto.server import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

REFUSAL = b"<Error><Code>AccessDenied</Code><Message>uploads are refused</Message></Error>"
OVERLOADED = b"<Error><Code>SlowDown</Code><Message>reduce your request rate</Message></Error>"


class FullDisk:
    """A small file system; while it is broken, a file of ballast leaves no room on it."""

    words = "No space left on device"

    def __init__(self, folder: Path) -> None:
        self.root = str(folder / "results")
        self._ballast = folder / "ballast"

    def break_(self) -> None:
        # What one write after another no longer takes: the last bytes as well.
        with self._ballast.open("wb", buffering=0) as file:
            for size in (65536, 4096, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(b"x" * size)

    def mend(self) -> None:
        self._ballast.unlink()


class S3Server:
    """Moto's S3 server on a port of the loopback address, with a switch for what changes anything in it."""

    def __init__(self) -> None:
        self.writes = 0
        """How many requests that change something have come so far, refused ones included."""
        self.refuses: Callable[[int], bool] = lambda number: False
        """Whether the request of this number that changes something is refused."""
        self.requests = 0
        """How many requests have come so far, of whatever kind."""
        self.down = False
        """Whether every request is answered by an error of the server."""
        self._backend = DomainDispatcherApplication(create_backend_app)
        self._counting = threading.Lock()
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=MotoRequestHandler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def environment(self) -> dict[str, str]:
        """By which every S3 client finds it."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._server.server_address[1]}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()

    def _answer(self, request: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        changes = request["REQUEST_METHOD"] in ("PUT", "POST", "DELETE")
        with self._counting:
            self.requests += 1
            self.writes += changes
            refused = changes and self.refuses(self.writes)
        if refused or self.down:
            request["wsgi.input"].read(int(request.get("CONTENT_LENGTH") or 0))
            start("503 Slow Down" if self.down else "403 Forbidden", [("Content-Type", "application/xml")])
            return [OVERLOADED if self.down else REFUSAL]
        return self._backend(request, start)  # type: ignore[no-any-return]


class RefusedUploads:
    """An address on the S3 server; while it is broken, the server refuses to change anything."""

    words = "uploads are refused"

    def __init__(self, server: S3Server, root: str) -> None:
        self.root = root
        self._server = server

    def break_(self) -> None:
        self._server.refuses = lambda number: True

    def mend(self) -> None:
        self._server.refuses = lambda number: False
