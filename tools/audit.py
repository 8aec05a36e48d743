"""Known vulnerabilities of what is installed: `make audit`, and a part of CI.

pip-audit asks OSV about every installed package. A vulnerability fails, unless ACCEPTED says why it may stay. A
service that cannot be reached is reported and does not fail: a machine without a network must be able to run CI.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

SECONDS = 120  # for all of it; a few when the service answers
ACCEPTED: dict[str, str] = {}  # the vulnerability's id, and why it does not matter here

# what requests and pip-audit call a service that is not there, too slow, or out of order
_UNREACHABLE = re.compile(r"^(\S*(Connect\w*|Timeout|Proxy|SSL|HTTP|Service)Error|\S*Timeout)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Verdict:
    """What was found, a line each, and the exit code that follows."""

    lines: tuple[str, ...]
    code: int


def main() -> int:
    """Run pip-audit over this environment; returns the exit code."""
    command = [sys.executable, "-m", "pip_audit", "--vulnerability-service", "osv", "--skip-editable", "--local"]
    options = ["--format", "json", "--progress-spinner", "off", "--timeout", "10"]
    try:
        done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        found = Verdict((f"audit: not checked: no answer within {SECONDS} s",), 0)
    else:
        found = verdict(done.returncode, done.stdout, done.stderr)
    print("\n".join(found.lines))
    return found.code


def verdict(code: int, out: str, said: str) -> Verdict:
    """From what pip-audit printed. It ends with 1 both when it found something and when it could not look."""
    try:
        audited: list[dict[str, Any]] = json.loads(out)["dependencies"]
    except (ValueError, KeyError, TypeError):
        reason = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "no reason given")
        if _UNREACHABLE.match(reason):
            return Verdict((f"audit: not checked: {reason[:300]}",), 0)
        return Verdict((f"audit: pip-audit failed: {reason[:300]}",), code or 1)
    known = [(package, hole) for package in audited for hole in package.get("vulns", ())]
    open_holes = [(package, hole) for package, hole in known if not _accepted(hole)]
    lines = [_line(package, hole) for package, hole in open_holes]
    skipped = [package["name"] for package in audited if "skip_reason" in package]
    lines += [f"audit: not checked: {', '.join(skipped)}"] if skipped else []
    counts = f"{len(open_holes)} vulnerabilities, {len(known) - len(open_holes)} accepted"
    return Verdict((*lines, f"audit: {len(audited) - len(skipped)} packages, {counts}"), 1 if open_holes else 0)


def _accepted(hole: dict[str, Any]) -> bool:
    names: Sequence[str] = [hole["id"], *hole.get("aliases", ())]
    return any(name in ACCEPTED for name in names)


def _line(package: dict[str, Any], hole: dict[str, Any]) -> str:
    mended = ", ".join(hole.get("fix_versions", ())) or "nothing yet"
    return f"{package['name']} {package['version']}: {hole['id']}, mended in {mended}"


if __name__ == "__main__":
    sys.exit(main())
