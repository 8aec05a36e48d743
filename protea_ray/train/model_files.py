"""A checkpoint of training on disk: a model directory that embeds, and beside it what a resumed run needs.

    step-00001234/
      model.safetensors       the weights, float32, under the names of the published files
      feature_maps.safetensors  those of linear attention, where the model attends through them
      config.json             with the marker `protea_ray`: trained, trained_residues, attention, parent
      vocab.txt, ...          the tokenizer's files of the start
      optimizer.safetensors   moments and raw weights by the name of their parameter
      state.json              where the run stands

A directory is written under a name with a leading dot and renamed when its bytes are on the disk, so that every
`step-*` is whole, whenever the writer was killed. No pickles.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protea_ray.errors import TrainingError
from protea_ray.models.families.base import FEATURE_MAP
from protea_ray.models.weights import FEATURE_MAPS

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS, OPTIMIZER, STATE = "model.safetensors", "optimizer.safetensors", "state.json"
BEST = "best.json"
_STEP = re.compile(r"step-(\d{8})")
_TOKENIZER = (
    "vocab.txt", "tokenizer_config.json", "tokenizer.json", "special_tokens_map.json", "added_tokens.json",
)  # fmt: skip


def checkpoints(out: Path) -> list[Path]:
    """Every whole checkpoint of a run, oldest first."""
    held = (out / "checkpoints").glob("step-*")
    return sorted(path for path in held if _STEP.fullmatch(path.name) and (path / STATE).is_file())


def write_checkpoint(
    out: Path,
    state: Mapping[str, Any],
    write: Callable[[Path], None],
    optimizer: Mapping[str, Tensor],
) -> Path:
    """Write the checkpoint of step `state["step"]` and return its directory; one that is there already stays as it is.

    `write` puts the files of a model into the directory that it is given. Raises TrainingError when the place cannot
    be written.
    """
    target = out / "checkpoints" / _name(state["step"])
    fresh = target.with_name(f".{target.name}")
    if target.is_dir():  # the same step of the same plan has the same weights
        return target
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        write(fresh)
        _save(optimizer, fresh / OPTIMIZER)
        write_json(fresh / STATE, state)
        _to_disk(fresh)
        fresh.rename(target)
        _sync(target.parent)
    except OSError as error:
        raise TrainingError(
            f"cannot write the checkpoint {target}: {error.strerror or error}. Make room or name another place; "
            "the same command goes on from the checkpoint before."
        ) from error
    return target


def read_state(checkpoint: Path) -> dict[str, Any]:
    """state.json of a checkpoint; raises TrainingError when it cannot be read."""
    try:
        return json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"{checkpoint / STATE} cannot be read ({error}). Remove {checkpoint}: the run then goes on from the "
            "checkpoint before."
        ) from None


def read_optimizer(checkpoint: Path) -> dict[str, Tensor]:
    """The tensors of `Optimiser.tensors`; raises TrainingError when the file is not whole."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(checkpoint / OPTIMIZER)
    except (OSError, SafetensorError) as error:
        raise TrainingError(
            f"{checkpoint / OPTIMIZER} cannot be read ({error}). Remove {checkpoint}: the run then goes on from the "
            "checkpoint before."
        ) from None


def prune(out: Path, keep: int, best: int | None) -> None:
    """Remove all but the newest `keep` checkpoints and that of step `best`, and what a killed writer left."""
    whole = checkpoints(out)
    for path in whole[:-keep]:
        if path.name != _name(best or 0):
            shutil.rmtree(path, ignore_errors=True)
    for path in (out / "checkpoints").glob(".step-*"):
        shutil.rmtree(path, ignore_errors=True)


def write_best(out: Path, step: int | None, loss: float | None) -> None:
    """Name the best checkpoint in best.json; nothing before the first validation."""
    if step is not None:
        write_json(out / BEST, {"step": step, "loss": loss, "directory": f"checkpoints/{_name(step)}"})


def best_checkpoint(out: Path) -> Path:
    """The checkpoint with the lowest validation loss of a run that has one."""
    return out / json.loads((out / BEST).read_text(encoding="utf-8"))["directory"]


def copy_model(checkpoint: Path, target: Path) -> None:
    """Make `target` the model of a checkpoint, without what only a resumed run needs."""
    fresh, old = target.with_name(f".{target.name}-new"), target.with_name(f".{target.name}-old")
    for left in (fresh, old):
        shutil.rmtree(left, ignore_errors=True)
    shutil.copytree(checkpoint, fresh, ignore=shutil.ignore_patterns(OPTIMIZER, STATE))
    _to_disk(fresh)
    if target.exists():
        target.rename(old)
    fresh.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON beside `path` and rename it into place."""
    fresh = path.with_name(f".{path.name}")
    fresh.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    fresh.replace(path)


def _name(step: int) -> str:
    return f"step-{step:08d}"


def write_model(directory: Path, weights: Mapping[str, Tensor], start: Path, marker: Mapping[str, Any]) -> None:
    """Write a whole model: `weights` by the names of the files, configuration of `start` with `marker`, tokenizer.

    Feature maps go into a file of their own, which transformers does not open.
    """
    maps = {name for name in weights if FEATURE_MAP in name}
    _save({name: value for name, value in weights.items() if name not in maps}, directory / WEIGHTS)
    if maps:
        _save({name: weights[name] for name in maps}, directory / FEATURE_MAPS)
    config = json.loads((start / "config.json").read_text(encoding="utf-8"))
    write_json(directory / "config.json", config | {"protea_ray": dict(marker)})
    for name in _TOKENIZER:
        if (start / name).is_file():
            shutil.copyfile(start / name, directory / name)


def _save(tensors: Mapping[str, Tensor], path: Path) -> None:
    from safetensors.torch import save_file

    own = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(own, path, metadata={"format": "pt"})


def _to_disk(directory: Path) -> None:
    """Return when every file of `directory` and its list of names are on the disk."""
    for path in (*_files(directory), directory):
        _sync(path)


def _files(directory: Path) -> Iterable[Path]:
    return (path for path in directory.iterdir() if path.is_file())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
