"""The encoder tests' checkpoints, which have a language-model head, and their one thread."""

from __future__ import annotations

from tests.encoder.conftest import checkpoint as checkpoint
from tests.encoder.conftest import one_thread as one_thread
