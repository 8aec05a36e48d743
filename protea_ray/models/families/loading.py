"""Load weights into transformers' modules: safetensors from a local directory; nothing is fetched or filled in.

float32 weights are mapped from the file, so the actors of a node share their pages.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protea_ray.errors import CheckpointError

if TYPE_CHECKING:
    import torch
    from torch import nn


def load_module(
    kind: Any, directory: Path, dtype: torch.dtype, may_miss: tuple[str, ...] = (), **options: Any
) -> nn.Module:
    """Load `kind` (a transformers class) in `dtype`, frozen and in evaluation mode.

    Raises CheckpointError for a file that cannot be read, and for a missing weight unless its name contains one of
    `may_miss`: transformers fills it with random numbers and only warns.
    """
    from safetensors import SafetensorError

    try:
        with _quietly():
            module, report = kind.from_pretrained(
                str(directory), dtype=dtype, attn_implementation="protea", use_safetensors=True,
                local_files_only=True, trust_remote_code=False, output_loading_info=True, **options,
            )  # fmt: skip
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise CheckpointError(f"{directory}: {kind.__name__} cannot be loaded: {error}") from error
    missing = [key for key in report["missing_keys"] if not any(part in key for part in may_miss)]
    if missing:
        shown = ", ".join(sorted(missing)[:5])
        raise CheckpointError(f"{directory}: {len(missing)} weights are missing from the files: {shown}")
    return module.eval().requires_grad_(False)


def make_trainable(module: nn.Module) -> None:
    """Give a frozen module of `load_module` gradients and memory of its own: training writes into its weights."""
    for parameter in module.parameters():
        parameter.data = parameter.data.clone()
        parameter.requires_grad_(True)


def fresh_weights(module: nn.Module, deviation: float) -> None:
    """Draw matrices from a normal distribution around 0, biases 0 and norms 1, as transformers does; always the same.

    Every process that trains one model must draw the same numbers.
    """
    import torch

    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, deviation, generator=draw)
            else:
                parameter.fill_(1.0 if name.endswith("norm.weight") else 0.0)


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep the progress bar and the table of unused weights (a decoder, a head) out of the log of every actor."""
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def read_tensors(directory: Path, prefix: str) -> dict[str, torch.Tensor]:
    """Tensors whose names start with `prefix`, the prefix removed, from every safetensors file of a checkpoint."""
    from safetensors import safe_open

    found = {}
    for path in sorted(directory.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118 (not a dict)
            found |= {name.removeprefix(prefix): file.get_tensor(name) for name in names}
    return found


def stores(directory: Path, ending: str) -> bool:
    """Whether some weight of the checkpoint has a name that ends so."""
    from safetensors import safe_open

    for path in sorted(directory.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            if any(name.endswith(ending) for name in file.keys()):  # noqa: SIM118 (not a dict)
                return True
    return False


def exact_frequencies(rotary: Any) -> None:
    """Raise CheckpointError unless rotary frequencies are float32: bfloat16 is off by 0.4 rad over 1,000 residues."""
    import torch

    if rotary.inv_freq.dtype is not torch.float32:
        raise CheckpointError(f"rotary frequencies are {rotary.inv_freq.dtype}; they must stay float32")


def restore_frequencies(rotary: Any, directory: Path) -> None:
    """Compute rotary frequencies anew where the files hold rounded ones: the model was cast before it was saved."""
    from safetensors import safe_open

    for path in sorted(directory.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            names = [name for name in file.keys() if name.endswith("inv_freq")]  # noqa: SIM118 (not a dict)
            if any(file.get_slice(name).get_dtype() in ("F16", "BF16") for name in names):
                rotary.inv_freq = rotary.compute_default_rope_parameters(rotary.config)[0]
