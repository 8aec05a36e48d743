"""When a person gave the command: the start of this process, before Python and its imports.

Only the entry point knows that the process is there for one command; whoever calls a command from a longer life gets
the moment of the call.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

_STARTED = 22  # field of /proc/self/stat, counted from 1; the second, a name in brackets, may hold blanks
_is_one_command = False


def one_command() -> None:
    """Say that this process was started for one command."""
    global _is_one_command
    _is_one_command = True


def command_start() -> float:
    """Seconds since the epoch, to a hundredth; now, where the process has another purpose or Linux does not say it."""
    now = time.time()
    if not _is_one_command:
        return now
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[_STARTED - 3])
        running = float(Path("/proc/uptime").read_text().split()[0]) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return now
    return now - max(running, 0.0)
