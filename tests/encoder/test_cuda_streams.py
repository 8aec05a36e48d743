"""The order of kernels and copies of a whole pack: what `out_of_order` sees, and which mistakes it must see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from protea_ray.encoder import transfer
from protea_ray.encoder.transfer import Transfer
from tests.encoder.fake_cuda import DEVICE, FakeGpu, out_of_order

SOURCE = Path(transfer.__file__).read_text(encoding="utf-8")
WAIT = "        stream.wait_stream(torch.cuda.current_stream(self.device))\n"
MARK = "            self._last_copy = stream.record_event(self._last_copy)\n"
KEEP = "            values.record_stream(stream)  # else its memory is given to the next pack before it has been read\n"
COPY = "            copy.copy_(values, non_blocking=True)\n"


def copied(gpu: FakeGpu, made: Any, *, waits: bool = True) -> list[str]:
    """Two results of one pack and a kernel behind them, copied by a class `Transfer`; what was out of order."""
    copies = made(DEVICE)
    with gpu.mode, gpu.log:
        for rows in (3, 5):
            copies.host(torch.zeros(rows, device=DEVICE).add_(1))
        torch.ones(4, device=DEVICE)
    if waits:
        copies.wait()
    return out_of_order(gpu.log) + gpu.log.waits


def test_copies_of_a_pack_are_in_order(gpu: FakeGpu) -> None:
    assert copied(gpu, Transfer) == []
    assert {step.stream.name for step in gpu.log.steps if step.stream} == {"kernels", "copies"}


def test_results_that_nobody_waited_for_are_seen(gpu: FakeGpu) -> None:
    assert set(copied(gpu, Transfer, waits=False)) == {"nobody waits for aten.copy_.default"}


@pytest.mark.parametrize(
    ("old", "new", "seen"),
    [
        (WAIT, "", "aten.copy_.default reads before the kernels have written"),
        (WAIT, WAIT.replace("torch.cuda.current_stream(self.device)", "stream"), "reads before the kernels"),
        (COPY + KEEP, COPY, "the memory that aten.copy_.default reads is given away before it was read"),
        ("values.record_stream(stream)", "copy.record_stream(stream)", "is given away before it was read"),
        (MARK, "", "nobody waits for aten.copy_.default"),
        (COPY + KEEP + MARK, MARK + COPY + KEEP, "nobody waits for aten.copy_.default"),
        ("non_blocking=True)\n            values", "non_blocking=False)\n            values", "copy_ of [(3,), (3,)]"),
        ("pin_memory=True", "pin_memory=False", "copy_ of [(3,), (3,)]"),
        ("self._last_copy.synchronize()", "pass", "nobody waits for aten.copy_.default"),
    ],
)
def test_a_mistake_in_the_order_is_seen(old: str, new: str, seen: str, gpu: FakeGpu) -> None:
    """Each is one line of transfer.py; on a GPU it would give wrong numbers now and then, or lose the overlap."""
    assert SOURCE.count(old) == 1
    broken = {"__name__": transfer.__name__, "torch": transfer.torch}
    exec(
        compile(SOURCE.replace(old, new).replace("import torch\n", ""), "transfer.py", "exec", dont_inherit=True),
        broken,
    )
    assert any(seen in problem for problem in copied(gpu, broken["Transfer"]))


def test_a_kernel_that_writes_into_what_is_being_copied_is_seen(gpu: FakeGpu) -> None:
    copies = Transfer(DEVICE)
    with gpu.mode, gpu.log:
        values = torch.zeros(3, device=DEVICE)
        copies.host(values)
        values.add_(1)
    copies.wait()
    assert out_of_order(gpu.log) == ["kernels write into what aten.copy_.default reads"]
