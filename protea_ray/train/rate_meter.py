"""Rate and time left of a training run."""

from __future__ import annotations

import time

REPORT_SECONDS = 10.0


class RateMeter:
    """Counts the tokens of finished steps, from the first step of this process on."""

    def __init__(self, steps: int, step_tokens: int) -> None:
        self._steps, self._step_tokens = steps, step_tokens
        self._step_at = self._reported_at = time.monotonic()
        self._tokens = self._counted = 0  # of the steps since the last report

    def rate(self, tokens: int) -> float:
        """Count a step; its tokens a second since the one before."""
        before, self._step_at = self._step_at, time.monotonic()
        self._tokens += tokens
        self._counted += 1
        return tokens / max(self._step_at - before, 1e-9)

    def report(self, step: int) -> dict[str, float] | None:
        """Mean rate and time of a step since the last report, and seconds left.

        None when ten seconds are not over and `step` is not the last.
        """
        took = self._step_at - self._reported_at
        if took < REPORT_SECONDS and step < self._steps:
            return None
        rate, each = self._tokens / max(took, 1e-9), took / max(self._counted, 1)
        self._reported_at, self._tokens, self._counted = self._step_at, 0, 0
        left = (self._steps - step) * self._step_tokens
        return {"tokens_per_second": rate, "step_seconds": each, "seconds_left": left / max(rate, 1e-9)}
