"""The token of a cluster that is started here: made before Ray makes one, and for nobody else to read.

Ray 2.60 turns token authentication on for a cluster that `ray.init` starts, unless RAY_AUTH_MODE says otherwise, and
writes a token for it with the permissions that the umask leaves, mostly 0644. Whoever has the token can run code as
this user. Where the home directory is missing or cannot be written, the token lives in this process's environment,
which only this user and the processes that Ray starts can read.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

OWNER_ONLY = 0o600
_OTHERS = 0o077  # what group and everybody else may do


def token_file() -> Path:
    """Where Ray looks for this user's token when the environment does not say.

    Raises RuntimeError for a user without a home directory.
    """
    return Path.home() / ".ray" / "auth_token"


def ensure_private_token() -> None:
    """See that a token exists that nobody else can read; none where the environment names one or wants none."""
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return
    try:
        _ensure_file(token_file())
    except (OSError, RuntimeError):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def _ensure_file(path: Path) -> None:
    """Write the file, or take the permissions of others away; raises OSError where that or reading it fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    except FileExistsError:
        if path.stat().st_mode & _OTHERS:
            path.chmod(OWNER_ONLY)
        if not os.access(path, os.R_OK):
            raise PermissionError(f"{path} cannot be read") from None
        return
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32))
    except OSError:  # a full disk: an empty token would be refused by Ray
        path.unlink(missing_ok=True)
        raise
