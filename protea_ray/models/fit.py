"""Whether the tensors in a checkpoint's files are those that a load would ask for; names and sizes alone, no torch.

transformers fills what it does not find with random numbers and leaves what it does not know aside. Both are errors
here, and most have one cause that has a name: the model was saved while something was wrapped around it (DDP,
torch.compile, Lightning, an adapter), or by another program. The cause and its cure are said first, then what is
missing.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from protea_ray.errors import CheckpointError
from protea_ray.models.families.base import Shape, Wanted
from protea_ray.models.misnamed import INDEX, SINGLE
from protea_ray.models.weights import TensorHeader

Size = tuple[int, ...]

_LEGACY = (("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias"))
_FLOATS = ("F64", "F32", "F16", "BF16")
BUFFERS = re.compile(r"(inv_freq|position_ids|_extra_state)$")  # in a layer, but not a weight
_ADAPTED = re.compile(r"(\.lora_|\.base_layer\.|\.ia3_|\.modules_to_save\.|\.vera_lambda)")
_OTHERS = {  # names of another program's modules: who writes them
    re.compile(r"(^|\.)sentence_encoder\.|^(encoder\.)?layers\.\d+\.self_attn\.q_proj\."): "fair-esm (esm.pretrained)",
    re.compile(r"^transformer\.blocks\.\d+\.attn\.layernorm_qkv"): "the esm package (esm.models.esmc)",
    re.compile(r"^(enc|encoder)\.(token_embed|blocks?\.\d+\.(SelfAttention|self_attention)\.)"): "another T5 program",
}
_WRAPPERS = {  # first part of a prefix: what put it there, and what to save instead
    "_orig_mod": (" (torch.compile)", "model._orig_mod"),
    "module": (" (DataParallel, DDP or DeepSpeed)", "model.module"),
    "_forward_module": (" (Lightning Fabric)", "the module inside"),
    "_fsdp_wrapped_module": (" (FSDP)", "the full state dict"),
    "base_model": (" (PEFT)", "model.merge_and_unload()"),
    "model": (" (a LightningModule, or another module that has the model as self.model)", "that inner model"),
}
_EMBEDDING = re.compile(r"(^|\.)(word_embeddings|embed_tokens|shared)\.weight$")
_LAYER = re.compile(r"(?:^|\.)(?:layers?|blocks?|h)\.(\d+)\.(.+)")
_DECODER = re.compile(r"(^|\.)decoder\.")


def require_fit(directory: Path, tensors: Sequence[TensorHeader], shape: Shape, wanted: Wanted | None) -> None:
    """Raise CheckpointError unless a load would find every tensor of `wanted`, and no layer or part of one beside them.

    Where `wanted` is not known, embedding and layers are compared with `shape`, and layers with each other.
    """
    if wanted is None:
        problems = _outline_problems(tensors, shape)
    else:
        named = {in_module(tensor.name, wanted): tensor for tensor in tensors}
        problems = list(_problems(named, wanted, shape))
        if problems and (cause := _cause(directory, [tensor.name for tensor in tensors], wanted)):
            raise CheckpointError(f"{directory}: {cause}")
    if problems:
        raise CheckpointError(
            f"{directory}: the weights are not those of its config.json: {'; '.join(problems)}. "
            "Put the weights and the config.json of one checkpoint together."
        )


def in_module(name: str, wanted: Wanted) -> str:
    """The name that transformers looks for when a file has `name`."""
    bare = name.removeprefix(f"{wanted.prefix}.")
    for old, new in _LEGACY:
        bare = bare.replace(old, new)
    return wanted.synonyms.get(bare, bare)


def _problems(named: Mapping[str, TensorHeader], wanted: Wanted, shape: Shape) -> Iterator[str]:
    stem = re.compile(re.escape(wanted.layers) + r"\.(\d+)\.")
    numbers = {int(match[1]) for name in named if (match := stem.match(name))}
    if numbers and numbers != set(range(shape.layers)):
        yield f"{len(numbers)} layers (highest {max(numbers)}), the configuration says {shape.layers}"
        return
    missing = [name for name in wanted.sizes if name not in named and name not in wanted.optional]
    if missing:
        yield _listed(f"{len(missing)} of {len(wanted.sizes)} tensors of the model are not there", missing)
    sizes = wanted.sizes.items()
    wrong = [(named[name], size) for name, size in sizes if name in named and named[name].shape != size]
    for tensor, size in wrong[:3]:
        yield f"{tensor.name} is {size_text(tensor.shape)}, the configuration says {size_text(size)}"
    if wrong[3:]:
        yield f"{len(wrong) - 3} more tensors have another size"
    other = [t.name for n, t in named.items() if n in wanted.sizes and t.dtype not in _FLOATS]
    if other:
        yield _listed("these are whole numbers, as in a quantised checkpoint", other)
    unused = [t.name for n, t in named.items() if stem.match(n) and n not in wanted.sizes and not BUFFERS.search(n)]
    if unused:
        yield _listed(f"{len(unused)} tensors of the layers would not be used", unused)


def _listed(what: str, names: Sequence[str]) -> str:
    return f"{what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"


def _cause(directory: Path, names: Sequence[str], wanted: Wanted) -> str | None:
    """Why the names are not those of the model, and the cure; None where no single cause explains it."""
    if adapted := [name for name in names if _ADAPTED.search(name)]:
        return (
            f"the weights hold an adapter that is not merged ({adapted[0]}, ...). Merge it (peft: merge_and_unload, "
            "then save_pretrained) and name the merged directory."
        )
    if prefix := _common_prefix(names, wanted):
        return _prefix_advice(directory, names, prefix)
    for pattern, program in _OTHERS.items():
        if foreign := [name for name in names if pattern.search(name)]:
            return (
                f"the weights have the names of {program}, such as {foreign[0]}, not those of transformers. Use the "
                "same model in transformers' format: its hub page has it, or transformers' conversion script makes it."
            )
    return None


def _common_prefix(names: Sequence[str], wanted: Wanted) -> str | None:
    """What stands in front of all tensors of the model, if without it they would be complete; ends with a dot."""
    held = set(names)
    anchor = next(name for name in wanted.sizes if name not in wanted.optional)
    for name in names:
        if not name.endswith(f".{anchor}"):
            continue
        prefix = name.removesuffix(anchor).removesuffix(f"{wanted.prefix}.")
        bare = {in_module(other.removeprefix(prefix), wanted) for other in held if other.startswith(prefix)}
        if prefix and all(name in bare for name in wanted.sizes if name not in wanted.optional):
            return prefix
    return None


def _prefix_advice(directory: Path, names: Sequence[str], prefix: str) -> str:
    others = [name for name in names if not name.startswith(prefix)]
    which = f"every weight of the model, unlike {others[0]}," if others else "every name"
    wrapper, inner = _WRAPPERS.get(prefix.split(".")[0], ("", "the model alone, without what it was part of,"))
    text = f"{which} begins with '{prefix}'{wrapper}. Save {inner} with save_pretrained()"
    if not (directory / SINGLE).is_file():
        return f"{text}, or take the prefix out of the names in every shard and in {INDEX}."
    code = (
        f"from safetensors.torch import load_file, save_file; p = '{prefix}'; t = load_file('{directory / SINGLE}'); "
        "save_file({k[len(p):]: v for k, v in t.items() if k.startswith(p)}, 'new.safetensors', {'format': 'pt'})"
    )
    return f'{text}, or take the prefix out: python -c "{code}" and put new.safetensors in its place.'


def _outline_problems(tensors: Sequence[TensorHeader], shape: Shape) -> list[str]:
    """In words, where embedding or layers differ from `shape`; for a family whose names are not known."""
    encoder = [tensor for tensor in tensors if not _DECODER.search(tensor.name)]
    return [*_embedding_problems(encoder, shape), *_layer_problems(encoder, shape)]


def _embedding_problems(tensors: Sequence[TensorHeader], shape: Shape) -> list[str]:
    wanted = (shape.vocabulary, shape.hidden)
    held = [tensor for tensor in tensors if _EMBEDDING.search(tensor.name)]
    if wrong := [tensor for tensor in held if tensor.shape != wanted]:
        return [f"{wrong[0].name} is {size_text(wrong[0].shape)}, the configuration says {size_text(wanted)}"]
    if not held and not any(tensor.shape == wanted for tensor in tensors):
        return [f"no token embedding of {size_text(wanted)}"]
    return []


def _layer_problems(tensors: Sequence[TensorHeader], shape: Shape) -> list[str]:
    """In words, where the number of layers is not that of `shape`, or layers do not have the same tensors."""
    layers: dict[int, dict[str, tuple[int, ...]]] = defaultdict(dict)
    for tensor in tensors:
        if match := _LAYER.search(tensor.name):
            layers[int(match[1])][match[2]] = tensor.shape
    if layers and sorted(layers) != list(range(shape.layers)):
        return [f"{len(layers)} layers (highest {max(layers)}), the configuration says {shape.layers}"]
    # T5 keeps its one table of relative positions in layer 0, so what only layer 0 has is no gap elsewhere
    common = {
        name: size for i in sorted(layers, reverse=True) if i or len(layers) == 1 for name, size in layers[i].items()
    }
    gaps = [
        f"layer {i} has {name} as {size_text(layers[i].get(name))}, others as {size_text(size)}"
        for i in sorted(layers)
        for name, size in common.items()
        if layers[i].get(name) != size
    ]
    return gaps[:1] + _width_problems(common, shape)


def _width_problems(layer: dict[str, tuple[int, ...]], shape: Shape) -> list[str]:
    """In words, the kinds of matrix of `shape` that a layer does not have."""
    kinds = {"attention": shape.heads * shape.head_dim, "feed-forward": shape.ffn}
    return [
        f"no {kind} matrix of {size_text((width, shape.hidden))} in a layer"
        for kind, width in kinds.items()
        if layer and (width, shape.hidden) not in layer.values()
    ]


def size_text(shape: Size | None) -> str:
    """A size in words: 33 x 320."""
    return "missing" if shape is None else " x ".join(map(str, shape)) or "a number"
