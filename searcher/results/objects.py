"""Results on object storage (S3, GCS, Azure, whatever fsspec knows)."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs

from searcher.errors import ResultsError
from searcher.results.files import Files, Lock
from searcher.results.layout import LOCKS

LEASE_SECONDS = 30.0
"""How long a lease lasts that is not renewed; it is renewed three times as often."""

_LEASE_BYTES = 1024

SETTLE_SECONDS = 0.5
"""Longer than one who takes a lease needs between looking and writing."""

_given_back: set[str] = set()
"""The tokens of leases that this process has released, of which storage may have refused to delete the object."""


class ObjectFiles(Files):
    """Object storage: an object appears, or is replaced, when its upload is complete."""

    def write(self, path: str, content: pa.Buffer) -> None:
        with self.filesystem.open_output_stream(f"{self.root}/{path}") as stream:
            stream.write(content)

    def remove_folder(self, folder: str) -> None:
        # Object by object: a reader meets fewer and fewer rows, never one twice.
        for path in self._all(folder):
            self.remove(path)

    def lock(self, sweep: str) -> Lock:
        return LeaseLock(self, sweep)


@dataclass(frozen=True, slots=True)
class Lease:
    """What stands in the lease object. `expires`: seconds since 1970; `home`: who can see its process."""

    token: str
    owner: str
    home: str
    pid: int
    expires: float

    @property
    def ended(self) -> bool:
        """True when it was released or not renewed, or when its process can be seen to be no more."""
        if self.token in _given_back or self.expires < time.time():
            return True
        if not self.home or self.home != _home():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
        return False


class LeaseLock:
    """A small object that says who writes the sweep and until when, renewed by a thread of its own.

    That of a killed process ends after 30 s; `lock` waits so long for one that is no longer renewed. A
    process on the same machine that is no more is seen at once. Writers' clocks must agree within some 10 s.
    Object stores have no lock: who takes a lease looks again after half a second whether it is still its own,
    so two can only hold it if one was held up for longer just between looking and writing.
    """

    def __init__(self, files: Files, sweep: str) -> None:
        self._files = files
        self._sweep = sweep
        self._path = f"{LOCKS}/{sweep}.json"
        self._token = secrets.token_hex(8)
        self._lost = self._fault = ""
        self._released = threading.Event()
        self._wait_for_other()
        self._expires = self._write()
        time.sleep(SETTLE_SECONDS)
        if (current := self._read()) is not None and current.token != self._token:
            raise self._taken(current)
        self._thread = threading.Thread(target=self._renew, name=f"lease of {sweep}", daemon=True)
        self._thread.start()

    def check(self) -> None:
        if self._lost:
            raise ResultsError(self._lost)
        if time.time() > self._expires:
            raise ResultsError(
                f"the right to write sweep '{self._sweep}' could not be renewed in {self._files.shown}: "
                f"{self._fault or 'it does not answer'}. "
                "What was written before is kept; when the cause is mended, go on with --resume"
            )

    def release(self) -> None:
        self._released.set()
        self._thread.join()  # a renewal under way must not bring back what is deleted here
        _given_back.add(self._token)
        # If it cannot be deleted it ends by itself.
        with contextlib.suppress(OSError, pa.ArrowException):
            if not self._lost:
                self._files.remove(self._path)

    def _wait_for_other(self) -> None:
        first = current = self._read()
        while current is not None and not current.ended:
            if first is None or current.home == _home() or current.expires != first.expires:
                raise self._taken(current)
            time.sleep(SETTLE_SECONDS)
            current = self._read()

    def _renew(self) -> None:
        while not self._released.wait(LEASE_SECONDS / 3):
            # What fails here is tried again; `check` speaks up when it has failed for too long.
            try:
                current = self._read()
                if current is not None and current.token != self._token:
                    self._lost = str(self._taken(current))
                    return
                self._expires, self._fault = self._write(), ""
            except (OSError, pa.ArrowException) as error:
                self._fault = " ".join(str(error).split()).rstrip(".")

    def _write(self) -> float:
        lease = Lease(
            token=self._token,
            owner=f"process {os.getpid()} on {os.uname().nodename}",
            home=_home(),
            pid=os.getpid(),
            expires=time.time() + LEASE_SECONDS,
        )
        # Of one length always: who reads it while it is replaced gets one or the other, and not a part.
        text = json.dumps(asdict(lease)).ljust(_LEASE_BYTES)
        self._files.write(self._path, pa.py_buffer(text.encode()))
        return lease.expires

    def _read(self) -> Lease | None:
        try:
            return Lease(**json.loads(self._files.read_bytes(self._path)))
        except FileNotFoundError:
            return None

    def _taken(self, lease: Lease) -> ResultsError:
        return ResultsError(f"sweep '{self._sweep}' is being written by {lease.owner}; wait until it ends")


def _home() -> str:
    """Names this boot of this machine and its process namespace: who has the same sees our processes."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def connect(address: str) -> ObjectFiles:
    """The files under an address such as `s3://bucket/results` or `s3://bucket/results?region=eu-central-1`.

    Raises:
        ResultsError: the address, or what is needed to reach it, is not known.
    """
    shown = address.partition("?")[0]
    try:
        filesystem, root = pafs.FileSystem.from_uri(address)
    except pa.ArrowInvalid:
        filesystem, root = _connect_fsspec(address)
    except (OSError, pa.ArrowException) as error:
        raise ResultsError(f"cannot open {shown}: {error}") from error
    return ObjectFiles(filesystem, root.rstrip("/"), shown)


def _connect_fsspec(address: str) -> tuple[pafs.FileSystem, str]:
    import fsspec  # type: ignore[import-untyped]

    try:
        filesystem, root = fsspec.url_to_fs(address)
    except (ValueError, ImportError) as error:
        raise ResultsError(f"cannot open {address.partition('?')[0]}: {error}") from error
    return pafs.PyFileSystem(pafs.FSSpecHandler(filesystem)), root
