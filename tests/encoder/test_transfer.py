"""Copies to and from a GPU, against streams that do their work only when somebody waits for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from protea_ray.encoder import transfer
from protea_ray.encoder.transfer import Transfer, to_device

CUDA = torch.device("cuda", 0)


class Event:
    """A point of a stream; waiting for it does all work queued before it."""

    def __init__(self) -> None:
        self.marks: tuple[Stream, int] | None = None

    def synchronize(self) -> None:
        assert self.marks is not None
        self.marks[0].run_to(self.marks[1])


class Stream:
    """Work in the order in which it was queued, none of it done before somebody waits."""

    def __init__(self) -> None:
        self.queue: list[Callable[[], Any]] = []
        self.done = 0

    def wait_stream(self, other: Stream) -> None:
        mark = len(other.queue)
        self.queue.append(lambda: other.run_to(mark))

    def record_event(self, event: Event | None = None) -> Event:
        event = event or Event()
        event.marks = (self, len(self.queue))
        return event

    def run_to(self, mark: int) -> None:
        while self.done < mark:
            self.done += 1
            self.queue[self.done - 1]()


class Array:
    """A tensor on the GPU or in pinned memory; copies into it are queued on the current stream."""

    def __init__(self, gpu: Gpu, values: np.ndarray, is_pinned: bool = False) -> None:
        self.gpu, self.values, self.is_pinned = gpu, values, is_pinned
        self.shape, self.dtype = values.shape, values.dtype
        self.used_by: list[Stream] = []

    def copy_(self, other: Array, non_blocking: bool = False) -> None:
        assert self.is_pinned and non_blocking, "this copy would wait"
        source = other

        def copy() -> None:
            self.values[...] = source.values

        self.gpu.current.queue.append(copy)

    def record_stream(self, stream: Stream) -> None:
        self.used_by.append(stream)

    def pin_memory(self) -> Array:
        return Array(self.gpu, self.values, True)

    def to(self, device: torch.device, non_blocking: bool = False) -> tuple[str, Array]:
        assert self.is_pinned == non_blocking == (device.type == "cuda")
        return device.type, self


class Gpu:
    """The part of torch that transfers use, over one default stream."""

    def __init__(self) -> None:
        self.default = self.current = Stream()
        self.asked: list[Any] = []
        self.cuda = SimpleNamespace(current_stream=self._current, stream=self._on, Stream=self._new)

    def empty(self, shape: tuple[int, ...], dtype: Any, pin_memory: bool = False) -> Array:
        return Array(self, np.full(shape, -1, dtype), pin_memory)

    def from_numpy(self, values: np.ndarray) -> Array:
        return Array(self, values)

    def _current(self, device: torch.device) -> Stream:
        self.asked.append(device)
        return self.current

    def _new(self, device: torch.device) -> Stream:
        self.asked.append(device)
        return Stream()

    @contextmanager
    def _on(self, stream: Stream) -> Iterator[None]:
        before, self.current = self.current, stream
        yield
        self.current = before

    def kernel(self, values: np.ndarray, number: float) -> None:
        """Queue a kernel that fills an array."""
        self.current.queue.append(lambda: values.fill(number))


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gpu]:
    made = Gpu()
    monkeypatch.setattr(transfer, "torch", made)
    transfer._copy_stream.cache_clear()
    yield made
    transfer._copy_stream.cache_clear()


def test_a_copy_waits_for_the_kernels_before_it_and_for_none_after_it(gpu: Gpu) -> None:
    values, later = np.zeros(3, np.float32), np.zeros(3, np.float32)
    copies = Transfer(CUDA)
    gpu.kernel(values, 7)
    tensor = Array(gpu, values)
    copy: Any = copies.host(tensor)  # type: ignore[arg-type]
    gpu.kernel(later, 9)
    assert copy.values.tolist() == [-1, -1, -1]  # nothing has waited yet
    assert (copy.shape, copy.dtype) == ((3,), np.float32)
    copies.wait()
    assert copy.values.tolist() == [7, 7, 7]
    assert later.tolist() == [0, 0, 0]
    assert set(gpu.asked) == {CUDA}


def test_waiting_is_for_every_copy_of_a_pack_and_for_none_of_the_next(gpu: Gpu) -> None:
    first, second = Transfer(CUDA), Transfer(CUDA)
    sources = [np.zeros(2, np.float32) for _ in range(3)]
    copies: list[Any] = []
    for number, (pack, source) in enumerate(zip((first, first, second), sources, strict=True), 1):
        gpu.kernel(source, number)
        copies.append(pack.host(Array(gpu, source)))  # type: ignore[arg-type]
    first.wait()
    assert [copy.values[0] for copy in copies] == [1, 2, -1]
    second.wait()
    assert copies[2].values[0] == 3


def test_memory_is_not_reused_before_the_copy_stream_has_read_it(gpu: Gpu) -> None:
    """All copies of a process share one stream that is not the one of the kernels."""
    tensors = [Array(gpu, np.zeros(1)) for _ in range(2)]
    for tensor in tensors:
        Transfer(CUDA).host(tensor)  # type: ignore[arg-type]
    (stream,) = {id(used): used for tensor in tensors for used in tensor.used_by}.values()
    assert stream is not gpu.default
    assert not gpu.default.queue


def test_on_a_cpu_nothing_is_copied_or_waited_for() -> None:
    values: Any = torch.arange(4)
    copies = Transfer(torch.device("cpu"))
    assert copies.host(values) is values
    copies.wait()
    array = np.arange(3)
    assert to_device(array, torch.device("cpu")).data_ptr() == array.ctypes.data


def test_an_array_is_pinned_before_it_goes_to_a_gpu(gpu: Gpu) -> None:
    given: Any = to_device(np.arange(3), CUDA)
    kind, sent = given
    assert kind == "cuda"
    assert sent.is_pinned
    assert sent.values.tolist() == [0, 1, 2]
