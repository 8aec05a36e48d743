"""A GPU without numbers: torch's fake tensors on `cuda:0`, and streams that write down what is asked of them.

Fake tensors have shape, dtype and device and no memory. torch refuses an operation on tensors of two devices, and one
whose result decides what Python does next (`item`, `tolist`, `nonzero`): on a GPU each of them waits for the device.
`Log` adds what torch lets pass: copies that wait, and the order of streams.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from protea_ray.encoder import encoder as encoder_module
from protea_ray.encoder import quantize, transfer

DEVICE = torch.device("cuda", 0)
FREE = 3 << 30  # bytes that this GPU says are free
_CUDA, _META = 1, 14  # numbers of c10::DeviceType
_GUARDS = "_ZN3c104impl26device_guard_impl_registryE"


@dataclass(frozen=True)
class Step:
    """What happened on a stream: an operation with the memory that it reads and writes, or a call of the stream's.

    `what` is the operation's name, or `wait` (for the stream `other`), `keep` (`record_stream` of what is read),
    `mark` (an event `other` is recorded) and `synchronize` (of the event `other`).
    """

    what: str
    stream: Any
    reads: frozenset[int] = frozenset()
    writes: frozenset[int] = frozenset()
    other: Any = None


@dataclass(eq=False)
class Stream:
    """A stream that writes down its calls."""

    log: Log
    name: str

    def wait_stream(self, other: Stream) -> None:
        self.log.steps.append(Step("wait", self, other=other))

    def record_event(self, event: Event | None = None) -> Event:
        event = event or Event(self.log)
        self.log.steps.append(Step("mark", self, other=event))
        return event


@dataclass(eq=False)
class Event:
    """An event that writes down who waits for it."""

    log: Log

    def synchronize(self) -> None:
        self.log.steps.append(Step("synchronize", None, other=self))


@dataclass
class Log(TorchDispatchMode):
    """Every operation while it is entered; `waits` are the copies that would wait for the device, in words."""

    steps: list[Step] = field(default_factory=list)
    waits: list[str] = field(default_factory=list)
    mixed: list[str] = field(default_factory=list)
    pinned: set[int] = field(default_factory=set)
    supports_higher_order_operators = True

    def __post_init__(self) -> None:
        super().__init__()
        self.kernels = self.current = Stream(self, "kernels")
        self._alive: list[Any] = []  # an address is given to the next tensor as soon as a storage is gone

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if getattr(func, "namespace", "") == "prim":  # asks a tensor for its device; nothing runs
            return out
        given = [x for x in pytree.tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        made = [x for x in pytree.tree_leaves(out) if isinstance(x, Tensor)]
        if (kwargs or {}).get("pin_memory"):
            self.pinned |= self._memory(made)
        changed = [x for x in given if _is_written(func, x, args, kwargs)]
        self.steps.append(Step(str(func), self.current, self._memory(given), self._memory([*made, *changed])))
        self._look(func, args, kwargs or {}, given, [*made, *changed])
        return out

    def _look(self, func: Any, args: Any, kwargs: Any, given: list[Tensor], made: list[Tensor]) -> None:
        """Write down a copy between host and device that waits, and any other operation on tensors of both."""
        kinds = {x.device.type for x in [*given, *made]}
        if len(kinds) < 2:
            return
        name = func.name().split("::")[-1].split(".")[0]
        if name not in ("to", "_to_copy", "copy_"):
            self.mixed.append(str(func))
            return
        host = self._memory([x for x in [*given, *made] if x.device.type == "cpu"])
        if not _argument(func, args, kwargs, "non_blocking") or not host <= self.pinned:
            self.waits.append(f"{name} of {[tuple(x.shape) for x in given]}")

    def _memory(self, tensors: list[Tensor]) -> frozenset[int]:
        storages = [x.untyped_storage() for x in tensors]
        self._alive += storages
        return frozenset(storage._cdata for storage in storages)

    def pin(self, values: Tensor) -> Tensor:
        """What `Tensor.pin_memory` gives."""
        made = values.clone()
        self.pinned |= self._memory([made])
        return made

    def keep(self, values: Tensor, stream: Stream) -> None:
        """What `Tensor.record_stream` does."""
        self.steps.append(Step("keep", stream, self._memory([values])))

    @contextmanager
    def on(self, stream: Stream) -> Iterator[None]:
        """What `torch.cuda.stream` does."""
        before, self.current = self.current, stream
        yield
        self.current = before


def _argument(func: Any, args: Any, kwargs: Any, name: str) -> Any:
    """The value that an operation was given for the argument `name`, by position or by name."""
    names = [argument.name for argument in func._schema.arguments]
    at = names.index(name)
    return args[at] if at < len(args) else kwargs.get(name)


def _is_written(func: Any, tensor: Tensor, args: Any, kwargs: Any) -> bool:
    """Whether an operation changes `tensor`, one of its arguments, in place."""
    schema = getattr(func, "_schema", None)
    written = [] if schema is None else [a.name for a in schema.arguments if a.alias_info and a.alias_info.is_write]
    return any(_argument(func, args, kwargs or {}, name) is tensor for name in written)


def out_of_order(log: Log) -> list[str]:
    """What may happen too early on a GPU: every pair of steps on two streams that nothing puts in order, in words."""
    problems: list[str] = []
    kept = {(memory, step.stream) for step in log.steps if step.what == "keep" for memory in step.reads}
    waited = [step.other for step in log.steps if step.what == "synchronize"]
    for i, step in enumerate(log.steps):
        if step.stream in (None, log.kernels) or step.what in ("wait", "keep", "mark") or not step.reads:
            continue
        for memory in step.reads:
            written = [j for j, one in enumerate(log.steps[:i]) if memory in one.writes]
            if written and not _waits(log, step.stream, log.steps[written[-1]].stream, written[-1], i):
                problems.append(f"{step.what} reads before the kernels have written")
            read_only = memory not in step.writes
            if read_only and log.steps[written[0]].stream is log.kernels and (memory, step.stream) not in kept:
                problems.append(f"the memory that {step.what} reads is given away before it was read")
            later = [j for j, one in enumerate(log.steps[i:], i) if one.stream is log.kernels and memory in one.writes]
            if any(not _waits(log, log.kernels, step.stream, i, j) for j in later):
                problems.append(f"kernels write into what {step.what} reads")
        events = {one.other for one in log.steps[i:] if one.what == "mark" and one.stream is step.stream}
        if not events & set(waited):
            problems.append(f"nobody waits for {step.what}")
    return problems


def _waits(log: Log, stream: Stream, other: Stream, after: int, before: int) -> bool:
    """Whether `stream` is `other`, or was told to wait for it between two steps."""
    return stream is other or any(
        step.what == "wait" and step.stream is stream and step.other is other for step in log.steps[after:before]
    )


@dataclass
class FakeGpu:
    """What a test holds: enter `mode` to make fake tensors, and `log` inside it to write down what runs."""

    mode: FakeTensorMode
    log: Log


@contextmanager
def fake_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGpu]:
    """Let this process believe in one GPU; modules that are loaded inside go there as fake tensors."""
    gpu = FakeGpu(FakeTensorMode(), Log())
    log, loaded = gpu.log, quantize._module
    streams = {"current_stream": lambda device: log.current, "Stream": lambda device: Stream(log, "copies")}
    cuda = SimpleNamespace(**vars(torch.cuda) | streams | {"stream": log.on, "is_available": lambda: True})
    believing = SimpleNamespace(**vars(torch) | {"cuda": cuda})

    def module(*given: Any) -> nn.Module:
        with unset_fake_temporarily():
            return loaded(*given)

    for name in (encoder_module, transfer):
        monkeypatch.setattr(name, "torch", believing)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda place: (FREE, 80 << 30))
    monkeypatch.setattr(Tensor, "pin_memory", lambda values: log.pin(values))
    monkeypatch.setattr(Tensor, "record_stream", lambda values, stream: log.keep(values, stream))
    monkeypatch.setattr(quantize, "_module", module)
    monkeypatch.setattr(nn.Module, "to", lambda part, place: _move(part, place, gpu.mode))
    transfer._copy_stream.cache_clear()
    with _devices_allowed():
        yield gpu
    transfer._copy_stream.cache_clear()


def _move(module: nn.Module, place: torch.device, mode: FakeTensorMode) -> nn.Module:
    """`module.to(place)` for fake tensors: torch exchanges parameters in place and cannot do that with them."""
    for part in module.modules():
        for held in (part._parameters, part._buffers):
            for name, values in held.items():
                if values is not None:
                    with unset_fake_temporarily():
                        fake = mode.from_tensor(values.detach())
                    moved = fake.to(place)
                    held[name] = nn.Parameter(moved, False) if held is part._parameters else moved  # type: ignore
    return module


@contextmanager
def _devices_allowed() -> Iterator[None]:
    """Give a torch without CUDA the guard that changes no device, as torch itself does where CUDA was built in.

    There `FakeTensorMode` calls `torch._C._ensureCUDADeviceGuardSet`, which does nothing in a build for the CPU alone:
    then even `x[None]` of a fake tensor fails. The guard of the device `meta` is such a guard.
    """
    library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libc10.so"))
    guards = (ctypes.c_void_p * (_META + 1)).in_dll(library, _GUARDS)
    before = guards[_CUDA]
    if before is None:
        guards[_CUDA] = guards[_META]
    yield
    guards[_CUDA] = before
