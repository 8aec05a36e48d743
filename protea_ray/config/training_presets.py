"""Where the fields of a training run come from that nobody gave: four presets, chosen by what training begins with.

`small` and `default` are for fresh weights, `continue` for a model. `adapt` brings a model to longer proteins as arXiv
2501.07747 does with ESM-2 (2,048 residues, attention to 512 on each side, 5 epochs, AdamW); that paper gives no
learning rate, batch or warm-up, so these are those of `continue` at half its step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    "small": {"tokens": 60_000_000},
    "default": {
        "crop": 1_022,
        "pack_tokens": 32_768,
        "step_tokens": 131_072,
        "epochs": 35.0,
        "optimiser": "muon",
        "learning_rate": 1e-3,
        "warmup_steps": 300,
        "dropout": 0.1,
        "ema": 0.999,
    },
    "continue": {
        "crop": 2_046,
        "pack_tokens": 16_384,
        "step_tokens": 65_536,
        "epochs": 5.0,
        "learning_rate": 5e-5,
        "weight_decay": 0.01,
        "warmup_steps": 50,
    },
    "adapt": {
        "attention": "local:512",
        "crop": 2_048,
        "pack_tokens": 16_384,
        "step_tokens": 32_768,
        "epochs": 5.0,
        "learning_rate": 5e-5,
        "weight_decay": 0.01,
        "warmup_steps": "3%",
    },
}
FEATURE_MAPS: dict[str, Any] = {  # over the preset of a model whose feature maps are learned
    "attention": "exact", "crop": 1_022, "step_tokens": 16_384, "tokens": 8_000_000, "epochs": None,
    "learning_rate": 1e-2, "weight_decay": 0.0, "validation_every": 100,
}  # fmt: skip
ADAPTER_LEARNING_RATE = 2e-4  # the factors start at nothing and need four times the rate of full weights


def preset_name(fields: Mapping[str, Any]) -> str:
    """The preset of a run: by the shape of fresh weights, `continue` or `adapt` for a checkpoint."""
    if fields.get("adapt") is True:
        return "adapt"
    if fields.get("model") is not None:
        return "continue"
    return "default" if fields.get("shape") not in (None, "small") else "small"


def with_preset(fields: Mapping[str, Any]) -> dict[str, Any]:
    """`fields` over those of their preset; a length that is given takes the place of the preset's."""
    preset = dict(PRESETS[preset_name(fields)])
    if fields.get("adapter", "none") != "none":
        preset |= {"learning_rate": ADAPTER_LEARNING_RATE, "weight_decay": 0.0}
    if fields.get("feature_maps", "none") != "none":
        preset |= FEATURE_MAPS
    if fields.get("tokens") is not None or fields.get("epochs") is not None:
        preset = {name: value for name, value in preset.items() if name not in ("tokens", "epochs")}
    return preset | dict(fields)
