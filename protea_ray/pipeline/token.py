"""The token of Ray clusters that are started here.

Ray 2.60 turns token authentication on for a cluster that `ray.init` starts, unless RAY_AUTH_MODE says otherwise, and
writes a token for it with the permissions that the umask leaves, mostly 0644. Whoever has the token can run code as
this user.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

OWNER_ONLY = 0o600


def token_file() -> Path:
    """Where Ray looks for this user's token when the environment does not say."""
    return Path.home() / ".ray" / "auth_token"


def keep_token_private() -> None:
    """See that the token exists before Ray writes one, and that nobody else can read it."""
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return
    path = token_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    except FileExistsError:
        _tighten(path)
        return
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(32))


def _tighten(path: Path) -> None:
    if path.stat().st_mode & 0o077:
        path.chmod(OWNER_ONLY)
