"""Faults: what goes wrong at which call, put around functions of the package when their module is first imported.

A fault is a mapping: `module` and `attribute` of the function; `do`, one of EFFECTS; `when` ("before" or "after" the
call). It strikes at the calls whose arguments hold `match` as text: at the `nth` of them, at `every` so many, or, with
neither, at each; of calls whose last argument is a pack of windows, only at those of more than `above_tokens`. A
`flag` is a file that must not exist yet, and is made: such a fault strikes once, in whatever process comes first.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.abc
import importlib.util
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

Fault = dict[str, Any]


def install(text: str) -> None:
    """Arm this process: `text` is JSON of {"toy": bool, "faults": [...]}."""
    plan = json.loads(text)
    at: dict[str, list[Callable[[ModuleType], None]]] = {}
    if plan.get("toy"):
        at["protea_ray.pipeline.worker"] = [_install_toy]
        sys.meta_path.insert(0, _Instead("protea_ray.encoder.encoder", Path(__file__).with_name("toy.py")))
    for fault in plan.get("faults", ()):
        at.setdefault(fault["module"], []).append(functools.partial(_arm, fault))
    sys.meta_path.insert(0, _OnImport(at))


def _install_toy(worker: ModuleType) -> None:
    importlib.import_module("protea_ray.encoder.encoder").install(worker)


class _Instead(importlib.abc.MetaPathFinder):
    """Another file under a module's name."""

    def __init__(self, name: str, file: Path) -> None:
        self._name, self._file = name, file

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        return importlib.util.spec_from_file_location(name, self._file) if name == self._name else None


class _OnImport(importlib.abc.MetaPathFinder):
    """Calls functions with a module as soon as it was imported."""

    def __init__(self, at: dict[str, list[Callable[[ModuleType], None]]]) -> None:
        self._at = at

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name not in self._at:
            return None
        then = self._at.pop(name)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return spec
        real = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            real(module)
            for function in then:
                function(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _arm(fault: Fault, module: ModuleType) -> None:
    """Put the fault around its function."""
    *path, name = fault["attribute"].split(".")
    owner: Any = functools.reduce(getattr, path, module)
    held = vars(owner)[name]
    real = held.__func__ if isinstance(held, staticmethod | classmethod) else held
    struck = _Counter(fault)

    @functools.wraps(real)
    def call(*args: Any, **kwargs: Any) -> Any:
        now = struck.counts(args, kwargs)
        if now and fault.get("when") != "after":
            _strike(fault)
        done = real(*args, **kwargs)
        if now and fault.get("when") == "after":
            _strike(fault)
        return done

    setattr(owner, name, type(held)(call) if isinstance(held, staticmethod | classmethod) else call)


class _Counter:
    """Whether this call is one that the fault strikes."""

    def __init__(self, fault: Fault) -> None:
        self._fault, self._calls = fault, 0

    def counts(self, args: Any, kwargs: Any) -> bool:
        if self._fault.get("match", "") not in f"{args} {kwargs}":
            return False
        if "above_tokens" in self._fault and sum(len(w.ids) for w in args[-1]) <= self._fault["above_tokens"]:
            return False
        self._calls += 1
        nth, every = self._fault.get("nth"), self._fault.get("every", 1)
        if not (self._calls == nth if nth else self._calls % every == 0):
            return False
        return _first(self._fault.get("flag"))


def _first(flag: str | None) -> bool:
    if flag is None:
        return True
    try:
        os.close(os.open(flag, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def _strike(fault: Fault) -> None:
    """`told` is a file that gets a line for each strike: what did not happen proves nothing."""
    if "told" in fault:
        with Path(fault["told"]).open("a") as file:
            file.write(f"{os.getpid()} {fault['do']}\n")
    EFFECTS[fault["do"]](fault)


def _kill_driver(fault: Fault) -> None:
    """From a worker: `file` holds the driver's pid, written by the test."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(int(Path(fault["file"]).read_text()), signal.SIGKILL)


def _lose_answer(fault: Fault) -> None:
    raise OSError("connection reset by peer, said the chaos suite")


def _compact_and_lose_answer(fault: Fault) -> None:
    """Somebody compacts the table between the commit and its answer, which then is lost."""
    import lance

    lance.dataset(str(fault["table"])).optimize.compact_files()
    _lose_answer(fault)


def _segfault(fault: Fault) -> None:
    import ctypes

    ctypes.string_at(0)


def _hog(fault: Fault) -> None:
    """Allocate and touch memory, 64 MiB at a time, until only `leave` bytes are free on the machine.

    Others use it too: it must survive, and what they give back meanwhile must not keep the monitor from its limit.
    """
    held = []
    while memory()[1] > int(fault["leave"]):
        held.append(bytearray(os.urandom(4096) * (1 << 14)))
        time.sleep(0.05)
    time.sleep(float(fault.get("seconds", 60)))


def memory() -> tuple[int, int]:
    """(total, available) bytes of this machine."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    found = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
    return found["MemTotal"], found["MemAvailable"]


def _out_of_memory(fault: Fault) -> None:
    import torch

    raise torch.OutOfMemoryError("CUDA out of memory, said the chaos suite")


_arrived: dict[str, int] = {}  # calls of this process, by folder


def _barrier(fault: Fault) -> None:
    """Wait until `of` processes are at their n-th call, whatever n is; files in `folder` say who is."""
    number = _arrived[fault["folder"]] = _arrived.get(fault["folder"], 0) + 1
    Path(fault["folder"], f"{number}-{os.getpid()}").touch()
    end = time.monotonic() + 300
    while len(list(Path(fault["folder"]).glob(f"{number}-*"))) < fault["of"]:
        if time.monotonic() > end:
            raise TimeoutError(f"alone at barrier {number}")
        time.sleep(0.001)


def _touch(fault: Fault) -> None:
    Path(fault["file"]).touch()


EFFECTS: dict[str, Callable[[Fault], None]] = {
    "kill": lambda fault: os.kill(os.getpid(), signal.SIGKILL),
    "kill_driver": _kill_driver,
    "exit": lambda fault: os._exit(int(fault.get("code", 1))),
    "segfault": _segfault,
    "hog": _hog,
    "out_of_memory": _out_of_memory,
    "lose_answer": _lose_answer,
    "compact_and_lose_answer": _compact_and_lose_answer,
    "barrier": _barrier,
    "sleep": lambda fault: time.sleep(float(fault["seconds"])),
    "touch": _touch,
}
