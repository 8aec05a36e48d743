"""Checkpoints of the hub: fetched into its own cache, pinned to a commit, and what to do where that fails."""

from __future__ import annotations

import re
from pathlib import Path

from protea_ray.errors import CheckpointError
from protea_ray.models.families.vocabulary import FILES
from protea_ray.models.misnamed import INDEX, SINGLE, close_name
from protea_ray.models.shipped import DEFAULT_MODEL
from protea_ray.models.weights import FEATURE_MAPS

DOWNLOADED = (
    "config.json", SINGLE, "model-*.safetensors", INDEX, FEATURE_MAPS, *FILES,
    "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
)  # fmt: skip

_COMMIT = re.compile(r"[0-9a-f]{40}")


def from_hub(model: str, revision: str | None) -> tuple[Path, str]:
    """Snapshot of a hub id; its folder is named by the commit, which settles what `main` meant."""
    from huggingface_hub import errors, snapshot_download

    try:
        path = Path(snapshot_download(model, revision=revision, allow_patterns=list(DOWNLOADED)))
    except (errors.HfHubHTTPError, OSError, ValueError) as error:
        raise CheckpointError(_hub_advice(model, revision, error)) from error
    if not _COMMIT.fullmatch(path.name):
        raise CheckpointError(f"{model}: the hub's cache has no commit for it ({path}); delete that entry")
    if not (path / SINGLE).is_file() and not (path / INDEX).is_file():
        raise CheckpointError(
            f"{model} at {path.name} has no safetensors weights, only pickles or none. Look on its hub page "
            "for a conversion (a pull request's commit works as --revision), or convert it yourself with "
            "save_pretrained() and name that directory."
        )
    return path, path.name


def _hub_advice(model: str, revision: str | None, error: Exception) -> str:
    """What went wrong with the hub, and what to do. The request itself is left out: it may carry a token."""
    from huggingface_hub import errors

    at = f"{model} at revision {revision}" if revision else model
    if isinstance(error, errors.GatedRepoError):
        return f"{at} is gated: accept its licence on the hub, then set HF_TOKEN to a token that may read it"
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"there is no model {model} on the hub, nor a directory of that name. Check the spelling; "
            f"a private model needs HF_TOKEN.{close_name(model)}"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{model} has no revision {revision} on the hub. Give a 40-hex commit from its history, or none."
    if isinstance(error, errors.HFValidationError):
        return f"{model!r} is neither a directory nor a hub id (owner/name).{close_name(model)}"
    detail = ", ".join(filter(None, (type(error).__name__, getattr(error, "strerror", None))))
    return (
        f"{at} cannot be fetched ({detail}) and is not complete in the hub's cache. Check the "
        f"network and HF_HUB_OFFLINE, or name a local directory ({model} is none); with no --model {DEFAULT_MODEL} "
        f"is used, which is built in.{close_name(model)}"
    )
