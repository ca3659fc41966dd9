"""Machine code of a function of tensors, compiled ahead of its use and kept in a file.

`torch.compile` guards every call by checks in Python, and a process that finds its code in PyTorch's cache still
needs seconds to get at it. The operations of a training step of fixed shapes are always the same: here they are
traced once, compiled by AOTInductor, and called without a check. The file is named by a hash of the operations
of a model alone, from which those of the batch follow, so that code of other operations, shapes, versions or
processors is never taken. A process that finds it does not even import PyTorch's compiler.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import platform
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from searcher.errors import SearcherError
from searcher.training.builtin.packages import data_folder

log = logging.getLogger(__name__)

Code = Callable[[list[Tensor]], list[Tensor]]


class CannotCompile(SearcherError):
    """A function of which no machine code can be made; says why."""


class BeingCompiled(SearcherError):
    """A function that another process is compiling."""


def machine_code(
    function: Callable[..., Tensor],
    arguments: Sequence[Tensor],
    sample: Callable[[], object],
    version: str,
    *,
    wait: bool = True,
) -> Code:
    """Code that computes a function of CPU tensors; it may write to them.

    Args:
        function: makes the same operations at every call, whatever the tensors hold.
        arguments: contiguous. Only their shapes and types count; the function is called on copies.
        sample: makes the operations from which, with the version and the arguments' shapes, those of the function
            follow. It is called each time, so it should be quick.
        version: of what makes the function of the sample.
        wait: while another process compiles it.

    Returns:
        From a list of such tensors to the list of results.

    Raises:
        BeingCompiled: another process is at it, and `wait` is false.
        CannotCompile: two calls of the sample made other operations, as of a model that draws numbers in Python.
        Exception: what PyTorch or the compiler says of it.
    """
    key = _key(sample, arguments, version)
    file = data_folder() / "steps" / f"{key}.pt2"
    if not file.exists():
        if _key(sample, arguments, version) != key:
            raise CannotCompile("the model makes other operations at every call")
        with _scratch(file.parent) as scratch, _alone(file.with_suffix(".lock"), wait):
            if not file.exists():  # another carrier may have made it meanwhile
                made = scratch / file.name
                _compile(function, arguments, made)
                try:
                    made.replace(file)
                except OSError as error:
                    log.warning("compiled code is not kept: %s", error)
                    return _loaded(made)
    return _loaded(file)


def processor() -> str:
    """The model of this machine's processor."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _key(sample: Callable[[], object], arguments: Sequence[Tensor], version: str) -> str:
    """Of everything that the code depends on."""
    recorder = _Recorder(f"{torch.__version__} {_instructions()} {torch.get_num_threads()} {version}")
    recorder.tell("arguments", arguments)
    with recorder:
        sample()
    return recorder.text.hexdigest()[:24]


class _Recorder(TorchDispatchMode):
    """Hashes which operations are made, of which earlier results, and every constant among their arguments."""

    def __init__(self, text: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.text = hashlib.sha256(text.encode())
        self._numbers: dict[int, int] = {}
        self._alive: list[Tensor] = []  # so that no identity is given twice

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # to skip it, it would first be imported, which takes a second

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for value in tree_leaves((args, kwargs)):
            if isinstance(value, Tensor) and id(value) not in self._numbers:
                constant = value.detach().contiguous().view(-1).view(torch.uint8)
                self.tell(hashlib.sha256(constant.numpy().tobytes()).hexdigest(), value)
        result = func(*args, **(kwargs or {}))
        self.tell(f"{func} {tree_map(self._told, (args, kwargs))}", result)
        return result

    def tell(self, what: str, made: Any) -> None:
        self.text.update(what.encode())
        for value in tree_leaves(made):
            if isinstance(value, Tensor):
                self._alive.append(value)
                number = self._numbers.setdefault(id(value), len(self._numbers))
                self.text.update(f"{number} {value.dtype} {tuple(value.shape)} {value.stride()}\n".encode())

    def _told(self, value: Any) -> str:
        return f"#{self._numbers[id(value)]}" if isinstance(value, Tensor) else repr(value)


@lru_cache(maxsize=1)
def _instructions() -> str:
    """What the code may be compiled for: the compiler takes every instruction that the processor has."""
    return f"{processor()} {_cpuinfo('flags')}"


def _cpuinfo(name: str) -> str:
    """What Linux says of the first processor by this name; empty where it says nothing."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def _compile(function: Callable[..., Tensor], arguments: Sequence[Tensor], file: Path) -> None:
    graph = make_fx(function)(*[value.clone() for value in arguments])
    program = torch.export.export(_Holder(graph), tuple(value.clone() for value in arguments))
    torch._inductor.aoti_compile_and_package(program, package_path=str(file))


class _Holder(torch.nn.Module):
    """A graph as a module of any number of arguments, as `torch.export` wants it."""

    def __init__(self, graph: GraphModule) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, *arguments: Tensor) -> Any:
        return self.graph(*arguments)


def _loaded(file: Path) -> Code:
    # Not `torch._inductor.aoti_load_package`, which imports the compiler and checks every call.
    loader = torch._C._aoti.AOTIModelPackageLoader(str(file), "model", True, 1, -1)
    run: Code = loader.run
    return run


@contextmanager
def _alone(lock: Path, wait: bool) -> Any:
    """One process at a time is inside. When it dies, the system lets the next one in; without a lock, all are.

    Raises:
        BeingCompiled: another one is inside, and `wait` is false.
    """
    with ExitStack() as held:
        try:
            file = held.enter_context(lock.open("w"))
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BeingCompiled(str(lock)) from None
        except OSError as error:
            log.warning("code may be compiled twice: %s", error)
        yield


@contextmanager
def _scratch(folder: Path) -> Any:
    """A folder that is gone afterwards, in the folder where that takes one."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        place = folder if os.access(folder, os.W_OK) else None
    except OSError:
        place = None
    with tempfile.TemporaryDirectory(dir=place) as name:
        yield Path(name)


__all__ = ["BeingCompiled", "CannotCompile", "machine_code", "processor"]
