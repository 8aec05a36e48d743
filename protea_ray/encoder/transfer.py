"""From the device to the host without waiting: results of one pack are copied while the next one is computed.

On CUDA a copy goes into pinned memory on a stream of its own, which waits for the kernels queued so far and for
nothing that is queued later. On a CPU there is nothing to copy.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor


def to_device(values: np.ndarray, device: torch.device) -> Tensor:
    """A small array of the host, on the device; pinned first on CUDA, where the call then returns at once."""
    made = torch.from_numpy(values)
    return made.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else made.to(device)


@dataclass
class Transfer:
    """Copies of one pack. `host` queues one; its tensor may be read after `wait`."""

    device: torch.device
    _landed: Any = field(default=None, init=False)

    def host(self, values: Tensor) -> Tensor:
        """A tensor of the host that will hold `values`; `values` itself where it is there already."""
        if self.device.type != "cuda":
            return values
        stream = _copies(self.device)
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):
            copy = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            copy.copy_(values, non_blocking=True)
            values.record_stream(stream)  # else its memory is given to the next pack before it has been read
            self._landed = stream.record_event(self._landed)
        return copy

    def wait(self) -> None:
        """Until every queued copy is there."""
        if self._landed is not None:
            self._landed.synchronize()


@cache
def _copies(device: torch.device) -> Any:
    """The one stream of this process for copies from the device."""
    return torch.cuda.Stream(device)
