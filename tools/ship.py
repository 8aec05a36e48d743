"""Put a trained model into the package: protea_ray/models/small, float16, with its card and the plan of its training.

    python -m tools.ship OUT          # OUT is what `protea-ray train STORE OUT` wrote

Reads OUT/model (model.safetensors, config.json, vocab.txt, tokenizer_config.json), OUT/README.md and OUT/plan.json.
Refuses a model that was never trained, a weight that float16 cannot hold, and more than 16 MB. What is left out of the
weights: the contact head, which masked-language modelling does not train, and rotary frequencies, which are computed.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from protea_ray.models.untrained import is_trained

PACKAGED = Path(__file__).resolve().parents[1] / "protea_ray" / "models" / "small"
MOST_BYTES = 16_000_000
_LEFT_OUT = ("contact_head.", "rotary_embeddings.", "esm.contact_head.", "esm.rotary_embeddings.")
_HALF = np.finfo(np.float16)


def ship(trained: Path, target: Path) -> dict[str, Any]:
    """Write the model of a training run to `target`; returns its bytes and the largest relative error of a weight.

    Raises ValueError, with nothing written, for a model that must not ship.
    """
    model = trained / "model"
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    if not is_trained(config):
        raise ValueError(f"{model}/config.json says that the model was never trained")
    weights = {n: w for n, w in load_file(model / "model.safetensors").items() if not n.startswith(_LEFT_OUT)}
    halves = {name: _half(name, weight) for name, weight in weights.items()}
    size = sum(half.nbytes for half in halves.values())
    if size > MOST_BYTES:
        raise ValueError(f"the weights are {size:,} bytes in float16; at most {MOST_BYTES:,} ship")
    target.mkdir(parents=True, exist_ok=True)
    save_file(halves, target / "model.safetensors", metadata={"format": "pt"})
    (target / "model.safetensors").chmod(0o644)  # safetensors writes for the owner alone, and others install packages
    # dtype is what transformers loads when it is not told: float16 is slow on a CPU
    kept = {key: value for key, value in config.items() if key not in ("torch_dtype", "_name_or_path")}
    (target / "config.json").write_text(json.dumps(kept | {"dtype": "float32"}, indent=2) + "\n", encoding="utf-8")
    for source in (model / "vocab.txt", model / "tokenizer_config.json", trained / "README.md", trained / "plan.json"):
        shutil.copyfile(source, target / source.name)
    return {"bytes": size, "largest_error": max(_error(weights[name], half) for name, half in halves.items())}


def _half(name: str, weight: np.ndarray) -> np.ndarray:
    """The weight in float16; raises ValueError for a value that is not finite there."""
    largest = np.abs(weight).max(initial=0)
    if not largest <= _HALF.max:  # NaN too
        raise ValueError(f"{name} reaches {largest}, which float16 cannot hold")
    return np.ascontiguousarray(weight.astype(np.float16))


def _error(weight: np.ndarray, half: np.ndarray) -> float:
    """Largest rounding error of a tensor, relative to its largest weight."""
    wide = weight.astype(np.float64)
    return float(np.abs(wide - half).max(initial=0) / max(np.abs(wide).max(initial=0), float(_HALF.tiny)))


def main() -> int:
    """Run as a program; the exit code is 1 for a model that must not ship."""
    try:
        done = ship(Path(sys.argv[1]), PACKAGED)
    except (IndexError, OSError, ValueError) as error:
        print(__doc__ if isinstance(error, IndexError) else f"error: {error}", file=sys.stderr)
        return 1
    error = f"largest rounding error {done['largest_error']:.1e} of a tensor's largest weight"
    print(f"{PACKAGED}: {done['bytes']:,} bytes of weights, {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
