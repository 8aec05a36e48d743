"""What is said before a model is run with an attention that it was not trained with: how far that moves its vectors.

A comparison of variants writes `variants.json` beside a checkpoint: {"rows": [{"variant", "loss_difference",
"pooled_cosine", "neighbours_kept"}]}, each figure a number or null.
"""

from __future__ import annotations

import json
from typing import Any

from protea_ray.config.attention_forms import AttentionVariant
from protea_ray.models.checkpoint import Checkpoint

MEASURED = "variants.json"
_FIGURES = {
    "loss_difference": "masked loss {:+.3f} nats beside that of windows",
    "pooled_cosine": "centred cosine of pooled vectors to the exact ones {:.3f}",
    "neighbours_kept": "{:.0%} of the 10 nearest neighbours kept",
}


def approximation_note(checkpoint: Checkpoint, variant: AttentionVariant) -> str | None:
    """In words, that `variant` approximates what the checkpoint was trained with, and by how much; None if not so."""
    if not variant.is_approximation or str(variant) == checkpoint.facts.attention:
        return None
    said = f"attention {variant} approximates what {checkpoint.model} was trained with, {checkpoint.facts.attention}"
    figures = _figures(checkpoint, str(variant))
    command = f"protea-ray compare-variants {checkpoint.model} --proteins FASTA --out FOLDER --beside-model"
    return f"{said}. {figures or f'Not measured: `{command}` does'}"


def _figures(checkpoint: Checkpoint, variant: str) -> str | None:
    """The measured figures of a variant in words; None where there is no file, no row or no figure."""
    directory = checkpoint.adapter.directory if checkpoint.adapter else checkpoint.path
    try:
        rows: list[dict[str, Any]] = json.loads((directory / MEASURED).read_text(encoding="utf-8"))["rows"]
        row = next((row for row in rows if row["variant"] == variant), {})
        found = [words.format(row[name]) for name, words in _FIGURES.items() if row.get(name) is not None]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        return f"{directory / MEASURED}, which should say by how much, cannot be read ({error})"
    return f"Measured: {', '.join(found)}" if found else None
