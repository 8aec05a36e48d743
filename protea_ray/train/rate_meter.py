"""Rate and time left of a training run, and the line that says so."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

REPORT_SECONDS = 10.0


class RateMeter:
    """Counts the tokens of finished steps, from the first step of this process on."""

    def __init__(self, steps: int, step_tokens: int) -> None:
        self._steps, self._step_tokens = steps, step_tokens
        self._step_at = self._reported_at = time.monotonic()
        self._tokens = 0

    def rate(self, tokens: int) -> float:
        """Count a step; its tokens a second since the one before."""
        before, self._step_at = self._step_at, time.monotonic()
        self._tokens += tokens
        return tokens / max(self._step_at - before, 1e-9)

    def report(self, step: int) -> dict[str, float] | None:
        """Mean rate since the last report and seconds left; None when ten seconds are not over and `step` not last."""
        took = self._step_at - self._reported_at
        if took < REPORT_SECONDS and step < self._steps:
            return None
        rate = self._tokens / max(took, 1e-9)
        self._reported_at, self._tokens = self._step_at, 0
        left = (self._steps - step) * self._step_tokens
        return {"tokens_per_second": rate, "seconds_left": left / max(rate, 1e-9)}


def line_of(event: Mapping[str, Any]) -> str:
    """A report of `train_here` as one line of text.

    >>> line_of({"kind": "progress", "step": 20, "steps": 400, "loss": 2.9, "tokens_per_second": 4000.0,
    ...          "seconds_left": 4000.0, "learning_rate": 1e-3, "tokens": 320_000, "epoch": 0})
    'step 20 of 400, epoch 0, loss 2.9000, 320,000 tokens, 4,000 tokens/s, 1:06:40 left'
    """
    if event["kind"] == "validation":
        lengths = ", ".join(f"{name} {values['loss_20']:.3f}" for name, values in event["by_length"].items())
        return (
            f"step {event['step']:,}: validation {event['loss_20']:.4f} ± {event['standard_error']:.4f} nats over the "
            f"20 amino acids ({event['loss']:.4f} over all tokens, perplexity {event['perplexity']:.2f}), "
            f"by length {lengths}"
        )
    if event["kind"] == "note":
        return str(event["text"])
    return (
        f"step {event['step']:,} of {event['steps']:,}, epoch {event['epoch']}, loss {event['loss']:.4f}, "
        f"{event['tokens']:,} tokens, {event['tokens_per_second']:,.0f} tokens/s, "
        f"{_clock(event['seconds_left'])} left"
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
