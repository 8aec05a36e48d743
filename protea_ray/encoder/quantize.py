"""Weights in fewer bits: every matrix of the layers is quantised; embeddings, norms, biases and heads stay.

| | matrices | arithmetic | bytes of float32 |
|---|---|---|---|
| int8 | torchao, one scale for each output channel | int8, each row of the input by its own scale | 1 / 4.0 |
| int4 | bitsandbytes nf4 (Dettmers et al. 2023), 64 weights a scale | in the recipe's dtype | 1 / 7.7 |
| hqq:8, 4, 3, 2 | hqq, 64 weights a scale and a zero point | in the recipe's dtype | 1 / 3.6, 6.4, 7.6, 10.7 |

Scales are by row because with one scale for the pack (torch.ao) a neighbour with 20 times larger activations moved a
protein by 0.81, 18 times the error of quantisation itself.

Quantisation saves memory. It saves time only under torch.compile (`--compile on`: ESM-2 8M 1.5 times float32; without,
about the same). It saves memory where one process holds the model, as on a GPU. On a CPU float32 weights are mapped
from the file and shared by all actors of a node, but quantised weights belong to one actor each, so from 4 actors a
node on (8 with int4) they take more. A matrix of hqq:B and int4 is decoded for each product.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.encoder import lora
from protea_ray.encoder.attention import register
from protea_ray.encoder.feature_maps import add_feature_maps
from protea_ray.encoder.hqq_linear import HqqLinear
from protea_ray.encoder.packed_linear import Nf4Linear
from protea_ray.errors import EncoderError
from protea_ray.models.adapters import Adapter
from protea_ray.models.checkpoint import read_config
from protea_ray.models.families.base import Family, Wanted

CUBLAS_MULTIPLE = 8  # sides of an int8 product that CUDA can do

_EXTRA = {"torchao": "quantize", "bitsandbytes": "quantize", "hqq": "sweep"}  # what installs a package

Convert = Callable[[nn.Linear], nn.Module]


def load(
    family: Family, directory: Path, recipe: EmbeddingConfig, place: torch.device, adapter: Adapter | None = None
) -> nn.Module:
    """The module of `family` on `place` in the dtype and quantisation of a resolved recipe, with its adapter.

    Matrices are moved and converted one by one, so the device never holds the whole model unquantised. Raises
    EncoderError for a missing package, for a matrix that would stay as it is, for a dtype that would overflow and for
    an adapter that was trained on another quantisation.
    """
    module = _quantised(family, directory, recipe, place, adapter)
    if recipe.variant.kind == "hedgehog":
        add_feature_maps(family, module, directory, place)
    return module


def _quantised(
    family: Family, directory: Path, recipe: EmbeddingConfig, place: torch.device, adapter: Adapter | None
) -> nn.Module:
    """`load` without feature maps."""
    dtype = getattr(torch, str(recipe.dtype))
    if adapter and adapter.quantization not in (None, recipe.quantization):
        raise EncoderError(f"{adapter.directory} was trained on {adapter.quantization}; set quantization to that")
    convert = method(recipe.quantization, dtype) if recipe.quantization else None
    with _quantisers_hidden():
        module = _module(family, directory, dtype, adapter)
    if convert is None:
        return module.to(place)
    layers = family.stack(module).layers
    if recipe.quantization == "int8" and place.type == "cuda":
        require_sides(layers)
    quantize(layers, convert, place)
    if adapter and adapter.quantization:
        lora.keep_beside(layers, adapter, _wanted(family, directory))
    return module.to(place)


def _module(family: Family, directory: Path, dtype: torch.dtype, adapter: Adapter | None) -> nn.Module:
    """The unquantised module on the CPU, with the adapter in it that was trained on an unquantised one.

    `register` imports transformers, which imports torchao and hqq where it finds them, so it is called in here alone.
    """
    register()  # transformers finds our attention by name while it builds the module
    module = family.load(directory, dtype)
    if adapter and adapter.quantization is None:
        exact = module if dtype is torch.float32 else family.load(directory, torch.float32)
        of_both = family.stack(module).layers, family.stack(exact).layers
        lora.merge_into(*of_both, adapter, _wanted(family, directory))
    return module


def _wanted(family: Family, directory: Path) -> Wanted:
    """The tensors of a family by name, which are known wherever an adapter was opened; raises EncoderError."""
    wanted = family.wanted(read_config(directory))
    if wanted is None:
        raise EncoderError(f"{family.name}: the names of its matrices are not known, so it takes no adapter")
    return wanted


def quantize(layers: Sequence[nn.Module], convert: Convert, place: torch.device) -> int:
    """Move every matrix of `layers` to `place` and convert it; returns the number of matrices.

    Raises EncoderError with the names of the matrices that are not quantised afterwards: torchao leaves a layer that
    it does not know as it is and reports nothing.
    """
    wanted = _matrices(layers)
    for layer, name, linear in _linears(layers):
        layer.set_submodule(name, convert(linear.to(place)))
    left = _matrices(layers)
    if left or not wanted:
        raise EncoderError(
            f"{len(left)} of {len(wanted)} matrices in the layers cannot be quantised ({', '.join(left[:5])}): they "
            "are not plain Linear layers. Leave quantization unset for this model and use dtype bfloat16 instead."
        )
    return len(wanted)


def require_sides(layers: Sequence[nn.Module]) -> None:
    """Raise EncoderError for matrices that torchao would silently multiply on the host, in int32, on a GPU."""
    odd = [
        f"{name} {tuple(linear.weight.shape)}"
        for _, name, linear in _linears(layers)
        if any(side % CUBLAS_MULTIPLE for side in linear.weight.shape)
    ]
    if odd:
        raise EncoderError(
            f"int8 on a GPU needs matrices whose sides are multiples of {CUBLAS_MULTIPLE}; {len(odd)} are not "
            f"({', '.join(odd[:5])}). Use int4, or leave quantization unset and use dtype bfloat16."
        )


def _linears(layers: Sequence[nn.Module]) -> list[tuple[nn.Module, str, nn.Linear]]:
    """(layer, name in it, Linear) of every Linear of `layers`; a list, so that the caller may replace them."""
    return [
        (layer, name, part) for layer in layers for name, part in layer.named_modules() if isinstance(part, nn.Linear)
    ]


def _matrices(layers: Sequence[nn.Module]) -> list[str]:
    """Names of unquantised parameters of `layers` with two or more dimensions, embeddings excluded."""
    return [
        f"layer {index} {name}"
        for index, layer in enumerate(layers, 1)
        for name, parameter in layer.named_parameters()
        if parameter.ndim > 1
        and type(parameter) is nn.Parameter  # torchao's are of its own tensor class, packed ones are no parameters
        and not isinstance(layer.get_submodule(name.rpartition(".")[0]), nn.Embedding)
    ]


def method(kind: str, dtype: torch.dtype) -> Convert:
    """The function that converts one Linear to `kind`, a recipe's quantization; its package is imported here alone.

    Raises EncoderError for int8 in float16, and when the package cannot be imported.
    """
    if kind == "int4":
        functional = _package("int4", "bitsandbytes.functional")
        return lambda linear: Nf4Linear(linear, functional)
    if kind.startswith("hqq:"):
        bits, quantizer = int(kind.removeprefix("hqq:")), _package(kind, "hqq.core.quantize").Quantizer
        return lambda linear: HqqLinear(linear, bits, quantizer)
    if dtype is torch.float16:
        # torchao multiplies by the input's scale, rounds to the output's dtype, and only then multiplies by the
        # weight's scale: a result of 218 was 1,000,000 in between, and 65,504 is the end of float16
        raise EncoderError("quantization int8 overflows in float16; set dtype to bfloat16 (or float32)")
    torchao = _package("int8", "torchao.quantization")
    # the default sets inductor options and float32 matmul precision for the whole process. The range stays 8 bits
    # on every CPU: torch falls back to a slow exact product where 16-bit sums would saturate (no VNNI)
    config = torchao.Int8DynamicActivationInt8WeightConfig(granularity=torchao.PerRow(), set_inductor_config=False)

    def convert(linear: nn.Linear) -> nn.Module:
        torchao.quantize_(linear, config)
        return linear

    return convert


def _package(kind: str, name: str) -> Any:
    """Import module `name` without its log messages; raises EncoderError when it cannot be imported.

    Where the package `kernels` is installed, bitsandbytes asks it on import to fetch compiled code from the hub. So
    `kernels` is hidden: nothing but weights may come from a hub.
    """
    import importlib

    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)  # torchao lists the GPU libraries that it could not load
    try:
        with _hidden("kernels"):
            return importlib.import_module(name)
    except ImportError as error:
        package = name.split(".")[0]
        raise EncoderError(
            f"quantization {kind} needs {package}, which cannot be imported ({error}); "
            f"pip install protea-ray[{_EXTRA[package]}]"
        ) from error
    finally:
        logging.disable(disabled)


@contextmanager
def _quantisers_hidden() -> Iterator[None]:
    """Hide torchao and hqq from transformers, which imports them wherever they are installed.

    Each takes a second in every actor, and hqq without its termcolor stops transformers.
    """
    with _hidden("torchao"), _hidden("hqq"):
        yield
    from transformers.utils import is_hqq_available, is_torchao_available

    is_torchao_available.cache_clear()  # what else runs in this process may want it
    is_hqq_available.cache_clear()


@contextmanager
def _hidden(name: str) -> Iterator[None]:
    """Make imports inside the block find no package `name`."""
    modules: dict[str, Any] = sys.modules
    before = {name: modules[name]} if name in modules else {}
    modules[name] = None
    try:
        yield
    finally:
        del modules[name]
        modules.update(before)
