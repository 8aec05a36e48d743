"""Which models need no network on this machine. Nothing is downloaded and no network is asked."""

from __future__ import annotations

from protea_ray.config.known_models import TWIN
from protea_ray.models.misnamed import INDEX, SINGLE
from protea_ray.models.shipped import SMALL
from protea_ray.models.untrained import MODEL_NAME


def is_here(hub_id: str) -> bool:
    """Whether the hub's cache has a configuration and safetensors weights of a model's main branch."""
    from huggingface_hub import try_to_load_from_cache

    held = {name for name in ("config.json", SINGLE, INDEX) if isinstance(try_to_load_from_cache(hub_id, name), str)}
    return "config.json" in held and len(held) > 1


def built_in_models() -> dict[str, str]:
    """Names of the models that are part of the package, and what each is, in words."""
    return {
        SMALL: "7.4 M parameters, 6 x 320, trained on 1,022 residues; ships with the package and is the default",
        MODEL_NAME: "the shape of esm2_8m with random weights, never trained: for trying things out",
        f"{TWIN}MODEL": "the untrained twin of any model: its shape with random weights, a control of evaluations",
    }
