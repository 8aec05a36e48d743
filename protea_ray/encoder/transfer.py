"""From the device to the host without waiting: results of one pack are copied while the next one is computed.

On CUDA a copy goes into pinned memory on a stream of its own, which waits for the kernels queued so far and not for
those queued later. On a CPU there is nothing to copy.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor


def to_device(values: np.ndarray, device: torch.device) -> Tensor:
    """Copy a small host array to `device`; on CUDA it is pinned first, so that the call does not wait."""
    made = torch.from_numpy(values)
    return made.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else made.to(device)


@dataclass
class Transfer:
    """Copies of one pack. `host` queues one; its tensor may be read after `wait`."""

    device: torch.device
    _last_copy: Any = field(default=None, init=False)

    def host(self, values: Tensor) -> Tensor:
        """Queue a copy of `values` to the host; returns the host tensor, or `values` itself on a CPU."""
        if self.device.type != "cuda":
            return values
        stream = _copy_stream(self.device)
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):
            copy = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            copy.copy_(values, non_blocking=True)
            values.record_stream(stream)  # else its memory is given to the next pack before it has been read
            self._last_copy = stream.record_event(self._last_copy)
        return copy

    def wait(self) -> None:
        """Wait until every queued copy is done."""
        if self._last_copy is not None:
            self._last_copy.synchronize()


@cache
def _copy_stream(device: torch.device) -> Any:
    """The stream of this process for copies from `device`."""
    return torch.cuda.Stream(device)
