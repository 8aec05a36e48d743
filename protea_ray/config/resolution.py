"""What a checkpoint decides about a recipe: the fields that it fills in, and what of the recipe it cannot do."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from protea_ray.config.recipe import Dtype, EmbeddingConfig, Quantization, overlap_problems
from protea_ray.errors import ConfigError


@dataclass(frozen=True)
class ModelFacts:
    """What a checkpoint says about itself, as far as a recipe depends on it.

    `n_layers` counts transformer layers, so `n_layers + 1` states exist; `trained_length` is in residues,
    None where positions are relative; `gpu_dtype` is the half precision that the family is stable in;
    `has_lm_head` says that the weights hold a language-model head over residues; `reads_3di` that the vocabulary has
    Foldseek's structure letters; `quantization` is the only one that the checkpoint can be used in, None where any can;
    `attention` is what it was trained with, and `has_feature_maps` that its files hold those of hedgehog attention;
    `has_rotary` that positions enter as rotations, which `rope` can stretch, `has_bias` as a bias of the scores by
    distance.
    """

    family: str
    n_layers: int
    has_cls: bool
    trained_length: int | None
    gpu_dtype: Dtype
    has_lm_head: bool = False
    reads_3di: bool = False
    quantization: Quantization | None = None
    attention: str = "exact"
    has_feature_maps: bool = False
    has_rotary: bool = False
    has_bias: bool = False


def resolve(config: EmbeddingConfig, facts: ModelFacts, device: str, revision: str | None) -> EmbeddingConfig:
    """Fill in what checkpoint and device (`cpu` or `cuda`) decide; raises ConfigError with every misfit.

    >>> esm2_8m = ModelFacts("esm2", n_layers=6, has_cls=True, trained_length=1022, gpu_dtype="float16")
    >>> recipe = resolve(EmbeddingConfig(model="facebook/esm2_t6_8M_UR50D"), esm2_8m, "cuda", revision=None)
    >>> recipe.family, recipe.max_residues, recipe.dtype
    ('esm2', 1022, 'float16')
    """
    if problems := misfits(config, facts, device):
        raise ConfigError(problems, where=f"{config.model} on {device}")
    max_residues = config.max_residues or stretched_length(config, facts)
    alphabet = config.alphabet or "aa"
    dtype = config.dtype or ("float32" if device == "cpu" else facts.gpu_dtype)
    filled = {"family": facts.family, "max_residues": max_residues, "dtype": dtype, "revision": revision}
    quantization = config.quantization or facts.quantization
    filled |= {"alphabet": alphabet, "quantization": quantization, "attention": config.attention or facts.attention}
    return config.model_copy(update=filled)


def misfits(config: EmbeddingConfig, facts: ModelFacts, device: str | None = None) -> list[str]:
    """In words, what of a recipe the checkpoint cannot do; device None: not known yet, and nothing said about it."""
    problems = overlap_problems(config, stretched_length(config, facts)) if config.max_residues is None else []
    if config.layers[-1] > facts.n_layers:
        problems.append(
            f"layers: {config.layers[-1]} is deeper than the model, which has {facts.n_layers} layers "
            f"(reverse index 0 to {facts.n_layers})"
        )
    if "cls" in config.pooling and not facts.has_cls:
        problems.append(f"pooling: {facts.family} has no CLS token; choose from mean, max, mean_max, std, none")
    if config.keeps_logits and not facts.has_lm_head:
        problems.append(
            f"outputs: the weights of this {facts.family} checkpoint hold no language-model head over residues, so "
            "there are no logits (T5 and Ankh predict with a decoder; of ESM use the files of the masked-LM model)"
        )
    problems += alphabet_problems(config, facts) + attention_problems(config, facts) + rope_problems(config, facts)
    problems += feature_map_problems(config, facts)
    if config.stitch == "average" and not (config.max_residues or facts.trained_length):
        problems.append(
            f"stitch: {facts.family} takes a protein in one window; give max_residues for several to average"
        )
    if facts.quantization and config.quantization not in (None, facts.quantization):
        problems.append(
            f"quantization: {config.quantization} was asked for, but this adapter was trained on {facts.quantization}; "
            "leave quantization unset"
        )
    if config.family not in ("auto", facts.family):
        problems.append(f"family: {config.family} was asked for, but the checkpoint is {facts.family}")
    if config.dtype == "float16" and device == "cpu":
        problems.append("dtype: float16 is 4 times slower than float32 on a CPU; use float32 or bfloat16")
    return problems


def attention_problems(config: EmbeddingConfig, facts: ModelFacts) -> list[str]:
    """In words, why the checkpoint's layers cannot attend as the recipe asks."""
    if config.variant.is_masked_exactly or not facts.has_bias:
        return []
    return [
        f"attention: {config.attention} was asked for, but the positions of this {facts.family} checkpoint are a bias "
        "of every pair of residues, which only exact and local:W take in; use one of these"
    ]


def attention_notes(config: EmbeddingConfig, facts: ModelFacts) -> list[str]:
    """In words, that a resolved recipe attends otherwise than the model was trained to by this package."""
    if facts.attention == "exact" or config.attention == facts.attention:
        return []
    return [
        f"{config.model} was trained with attention {facts.attention}, and {config.attention} is used: another "
        f"function than the one that was trained. Leave attention unset, or give {facts.attention}, for the model's own"
    ]


def feature_map_problems(config: EmbeddingConfig, facts: ModelFacts) -> list[str]:
    """In words, why the checkpoint cannot attend through feature maps, where recipe or checkpoint asks for it."""
    if (config.attention or facts.attention) != "hedgehog" or facts.has_feature_maps:
        return []
    return [
        "attention: hedgehog needs feature maps, and this checkpoint has none; `protea-ray train STORE OUT --model "
        f"{config.model} --feature-maps hedgehog` learns them for an ESM-2 or ESM-C"
    ]


def alphabet_problems(config: EmbeddingConfig, facts: ModelFacts) -> list[str]:
    """In words, why the checkpoint cannot read the letters of the recipe."""
    if config.alphabet != "3di" or facts.reads_3di:
        return []
    return [
        f"alphabet: this {facts.family} checkpoint has no tokens for 3di, Foldseek's structure letters; ProstT5 has. "
        "For amino acids use aa"
    ]


def stretched_length(config: EmbeddingConfig, facts: ModelFacts) -> int | None:
    """Residues that the recipe's stretch makes of the trained length, rounded down; None where positions are relative.

    >>> esm2_8m = ModelFacts("esm2", n_layers=6, has_cls=True, trained_length=1022, gpu_dtype="float16")
    >>> stretched_length(EmbeddingConfig(model="esm2_8m", rope="yarn:1.5"), esm2_8m)
    1533
    """
    if facts.trained_length is None:
        return None
    return int(Decimal(str(config.scaling.factor)) * facts.trained_length)  # as floats 2.01 x 1,000 is below 2,010


def rope_problems(config: EmbeddingConfig, facts: ModelFacts) -> list[str]:
    """In words, why the checkpoint's positions cannot be stretched as the recipe asks."""
    if config.rope == "none" or (facts.has_rotary and facts.trained_length is not None):
        return []
    lacks = "no trained length to stretch" if facts.has_rotary else "no rotary positions that could be stretched"
    return [
        f"rope: {config.rope} was asked for, but this {facts.family} checkpoint has {lacks}; ESM-2 and ESM-C can "
        "be stretched, and T5 and Ankh need none: their bias is the same at every distance from 128 on. Use rope none"
    ]
