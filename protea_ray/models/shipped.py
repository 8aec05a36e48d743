"""The model that ships with this package, `small`, and which model is used when none is named.

`small` has ESM-2's layers and was trained by `protea-ray train`; its model card, README.md, stands beside the weights
in the folder `small`, which is package data. The files are read where they were installed: nothing is written beside
them and nothing is fetched. The weights are float16, half the size, and become float32 exactly when they are loaded.
For that each process makes a copy of its own (30 MB), where weights that are float32 in the file would share its pages.
"""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from protea_ray.errors import CheckpointError
from protea_ray.models.untrained import MODEL_NAME, untrained_checkpoint

SMALL = "small"
BUILT_IN = (SMALL, MODEL_NAME)
DEFAULT_MODEL = SMALL
_NEEDED = ("config.json", "vocab.txt", "tokenizer_config.json", "model.safetensors")


def built_in(model: str) -> Path | None:
    """Directory of a model that needs no network, by its name; None for any other name.

    Raises CheckpointError where its files are not installed, and for a name that a checkpoint in the working directory
    has too.
    """
    if model == MODEL_NAME:
        return untrained_checkpoint()
    if model != SMALL:
        return None
    if (Path(SMALL) / "config.json").is_file():
        raise CheckpointError(
            f"{SMALL} is the model that ships with this package and also a checkpoint in the working directory. "
            f"Name ./{SMALL} for yours, or start from another directory for the one that ships."
        )
    return _shipped_checkpoint()


def _shipped_checkpoint() -> Path:
    directory = _packaged()
    missing = [name for name in _NEEDED if not directory.joinpath(name).is_file()]
    if missing or not isinstance(directory, Path):  # not a Path: imported from a zip file
        raise CheckpointError(
            f"the model {SMALL} is not whole in this installation: {directory} holds no {', '.join(missing) or 'files'}"
            ". Install the package again from its wheel, which has them; or name a checkpoint with --model "
            f"({MODEL_NAME} is made on the spot, but was never trained: its vectors carry no biology)."
        )
    return directory


def _packaged() -> Traversable:
    return files("protea_ray.models").joinpath(SMALL)
