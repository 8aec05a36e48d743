"""The recipe: how letters become vectors. One recipe, one space.

`EmbeddingConfig` holds every field that changes a number. `config.resolution` fills in what checkpoint and device
decide (family, trained length, dtype), and only a resolved recipe names a space (`config.identity`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from protea_ray.config.attention_forms import (
    AttentionVariant,
    RopeScaling,
    attention_variant,
    known_attention,
    known_rope,
    rope_scaling,
)
from protea_ray.config.known_models import full_name
from protea_ray.errors import ConfigError, did_you_mean

Pooling = Literal["mean", "max", "cls", "mean_max", "std", "none"]
Dtype = Literal["float32", "float16", "bfloat16"]
Output = Literal["embeddings", "logits"]
AlphabetName = Literal["aa", "3di"]
Quantization = Literal["int8", "int4", "hqq:8", "hqq:4", "hqq:3", "hqq:2"]
TrainableQuantization = Literal["int4", "hqq:8", "hqq:4", "hqq:3", "hqq:2"]  # through which gradients pass

POOLINGS: tuple[Pooling, ...] = ("mean", "max", "cls", "mean_max", "std", "none")
MAX_MODEL_NAME = 512
_REVISION = re.compile(r"[0-9a-f]{40}")


Attention = Annotated[str, AfterValidator(known_attention)]
Rope = Annotated[str, AfterValidator(known_rope)]


class EmbeddingConfig(BaseModel):
    """How one protein becomes vectors. Frozen; an unknown field is an error; all mistakes come in one message.

    >>> recipe = EmbeddingConfig(model="facebook/esm2_t6_8M_UR50D", pooling=("max", "mean"), layers=(2, 0))
    >>> recipe.pooling, recipe.layers  # sets, in one order, so that one recipe has one identity
    (('mean', 'max'), (0, 2))
    >>> recipe.widths(hidden=320)
    {'mean': 320, 'max': 320}
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    model: str = Field(description="name, hub id or directory; unset: small, which ships with the package")
    revision: str | None = Field(default=None, description="40-hex commit of a hub id; unset: resolved and recorded")
    family: str = Field(default="auto", description="esm2, esmc, t5, ankh, a plugin's name, or auto")
    alphabet: AlphabetName | None = Field(
        default=None, description="what the letters are: aa (amino acids) or 3di (structure, ProstT5); unset: aa"
    )
    layers: tuple[int, ...] = Field(default=(0,), description="layers counted from the end, 0 = last: 0 or 0,1,2")
    layer_agg: Literal["mean", "last", "concat"] = Field(default="mean", description="how several layers become one")
    pooling: tuple[Pooling, ...] = Field(
        default=("mean",), description="how residues become one vector, none to keep them"
    )
    outputs: tuple[Output, ...] = Field(
        default=("embeddings",),
        description="embeddings, or embeddings,logits for the language model's logits per residue",
    )
    normalize_residues: bool = Field(default=False, description="L2 of each residue before pooling")
    normalize: bool = Field(default=True, description="L2 of the pooled vector")
    max_residues: int | None = Field(
        None, gt=0, description="longest stretch of one forward pass, in residues; unset: trained length"
    )
    on_long: Literal["window", "truncate", "reject"] = Field(
        default="window", description="what becomes of a protein past max_residues"
    )
    window_overlap: int = Field(default=256, ge=0, description="overlap of forward windows, in residues")
    chunk_size: int | None = Field(None, gt=0, description="residues per stored row; unset: whole protein")
    chunk_overlap: int = Field(default=0, ge=0, description="overlap of stored rows, in residues")
    chunk_mode: Literal["posthoc", "independent"] = Field(
        default="independent", description="each chunk on its own (independent), or cut after one pass (posthoc)"
    )
    dtype: Dtype | None = Field(default=None, description="compute precision; unset: by device and family")
    store_dtype: Literal["float16", "float32"] = Field(default="float16", description="stored precision")
    attention: Attention | None = Field(
        default=None, description="exact, local:W, global:W or another form; unset: the checkpoint's own, mostly exact"
    )
    rope: Rope = Field(default="none", description="rotary positions stretched: none, linear:S, ntk:S or yarn:S")
    stitch: Literal["owner", "average"] = Field(
        default="owner", description="residues of several windows: from one (owner), or windows averaged by position"
    )
    quantization: Quantization | None = Field(
        default=None, description="weights in fewer bits: int8, int4, hqq:8, hqq:4, hqq:3 or hqq:2; unset: no"
    )

    @model_validator(mode="before")
    @classmethod
    def _averaged_windows_do_not_overlap(cls, fields: Any) -> Any:
        """The default overlap is for windows of which each residue is taken from one."""
        given = cast("dict[str, Any]", fields) if isinstance(fields, dict) else {}
        return {"window_overlap": 0, **given} if given.get("stitch") == "average" else cast("Any", fields)

    @field_validator("layers", "pooling", "outputs", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        """What the flags take: one value alone, or several with commas."""
        if isinstance(value, str):
            return [part.strip() for part in value.split(",")]
        return (value,) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("layers", "max_residues", "window_overlap", "chunk_size", "chunk_overlap", mode="before")
    @classmethod
    def _counts_are_numbers(cls, value: Any) -> Any:
        if isinstance(value, bool):  # pydantic would read True as 1
            raise ValueError("must be a number, not true or false")
        return value

    @field_validator("model")
    @classmethod
    def _model_is_named(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("is empty; give a hub id or a directory")
        if len(value) > MAX_MODEL_NAME:
            raise ValueError(f"has {len(value)} characters; at most {MAX_MODEL_NAME} are accepted")
        return full_name(value)

    @field_validator("revision")
    @classmethod
    def _revision_is_a_commit(cls, value: str | None) -> str | None:
        if value is not None and not _REVISION.fullmatch(value):
            raise ValueError("is not a 40-hex commit; branches move, so pin the commit")
        return value

    @field_validator("layers")
    @classmethod
    def _layers_are_a_set(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value:
            raise ValueError("is empty; (0,) is the last layer")
        if min(value) < 0:
            raise ValueError(f"{min(value)} is negative; count from the end: 0 = last, 1 = penultimate")
        return tuple(sorted(set(value)))

    @field_validator("pooling")
    @classmethod
    def _poolings_are_a_set(cls, value: tuple[Pooling, ...]) -> tuple[Pooling, ...]:
        if not value:
            raise ValueError(f"is empty; choose from {', '.join(POOLINGS)}")
        return tuple(p for p in POOLINGS if p in value)

    @field_validator("outputs")
    @classmethod
    def _outputs_are_a_set(cls, value: tuple[Output, ...]) -> tuple[Output, ...]:
        if "embeddings" not in value:  # a space without a vector cannot be searched, joined or compared
            raise ValueError("are stored beside embeddings only; use embeddings or embeddings,logits")
        return ("embeddings", "logits") if "logits" in value else ("embeddings",)

    @model_validator(mode="after")
    def _overlaps_fit(self) -> EmbeddingConfig:
        problems = overlap_problems(self, self.max_residues) + stitch_problems(self)
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def variant(self) -> AttentionVariant:
        """How layers attend; exact where the recipe leaves it to a checkpoint."""
        return attention_variant(self.attention or "exact")

    @property
    def scaling(self) -> RopeScaling:
        """How rotary positions are stretched."""
        return rope_scaling(self.rope)

    @property
    def pooled(self) -> tuple[Pooling, ...]:
        """The poolings that give one vector a span (all but `none`)."""
        return tuple(p for p in self.pooling if p != "none")

    @property
    def keeps_residues(self) -> bool:
        """Whether residue-level matrices are stored."""
        return "none" in self.pooling

    @property
    def keeps_logits(self) -> bool:
        """Whether per-residue logits are stored."""
        return "logits" in self.outputs

    def width(self, hidden: int) -> int:
        """Columns of the residue matrix after layer aggregation, for states `hidden` wide."""
        return hidden * len(self.layers) if self.layer_agg == "concat" else hidden

    def widths(self, hidden: int) -> dict[str, int]:
        """Length of each pooled vector by pooling name, for states `hidden` wide."""
        base = self.width(hidden)
        return {p: 2 * base if p == "mean_max" else base for p in self.pooled}


def overlap_problems(config: EmbeddingConfig, max_residues: int | None) -> list[str]:
    """In words, the overlaps that leave no step between two windows or chunks."""
    problems: list[str] = []
    windowed = config.on_long == "window" and max_residues is not None
    if windowed and max_residues is not None and config.window_overlap >= max_residues:
        problems.append(f"window_overlap {config.window_overlap} must be below max_residues {max_residues}; set it too")
    if config.chunk_size is not None and config.chunk_overlap >= config.chunk_size:
        problems.append(f"chunk_overlap {config.chunk_overlap} must be below chunk_size {config.chunk_size}")
    if config.chunk_size is None and config.chunk_overlap:
        problems.append(f"chunk_overlap {config.chunk_overlap} needs a chunk_size")
    return problems


def stitch_problems(config: EmbeddingConfig) -> list[str]:
    """In words, what has no meaning where row p of a protein is the mean of row p of each of its windows."""
    if config.stitch == "owner":
        return []
    other: dict[str, bool] = {
        f"on_long {config.on_long}, which leaves one window": config.on_long != "window",
        f"window_overlap {config.window_overlap}: its windows lie end to end; set it to 0": bool(config.window_overlap),
        "chunk_size: a row belongs to no residue": config.chunk_size is not None,
        "pooling none: a row belongs to no residue": config.keeps_residues,
        "outputs logits: a row belongs to no residue": config.keeps_logits,
    }
    return [f"stitch average does not go with {what}" for what, is_so in other.items() if is_so]


def given_fields(recipe: EmbeddingConfig | Mapping[str, Any]) -> dict[str, Any]:
    """The fields that were given to a recipe, whether it is a mapping or an EmbeddingConfig.

    >>> given_fields(EmbeddingConfig(model="m", layers=(1,)))
    {'model': 'm', 'layers': (1,)}
    """
    if isinstance(recipe, EmbeddingConfig):
        return {name: getattr(recipe, name) for name in EmbeddingConfig.model_fields if name in recipe.model_fields_set}
    return dict(recipe)


def embedding_config(
    fields: dict[str, Any], *, where: str = "EmbeddingConfig", elsewhere: Iterable[str] = ()
) -> EmbeddingConfig:
    """Build a recipe from untrusted fields; raises ConfigError that lists every mistake. `elsewhere`: see `explain`.

    >>> from protea_ray.errors import ConfigError
    >>> try:
    ...     embedding_config({"model": "m", "pooling": [], "layers": [-1]})
    ... except ConfigError as error:
    ...     print(*error.problems, sep="\\n")
    layers: -1 is negative; count from the end: 0 = last, 1 = penultimate (got [-1])
    pooling: is empty; choose from mean, max, cls, mean_max, std, none (got [])
    """
    try:
        return EmbeddingConfig(**fields)
    except ValidationError as error:
        problems = explain(error, EmbeddingConfig, elsewhere=elsewhere) + _combinations(fields, error)
        raise ConfigError(problems, where=where) from None


def _combinations(fields: dict[str, Any], error: ValidationError) -> list[str]:
    """In words, wrong combinations of the fields that are right by themselves; pydantic stops at a wrong field."""
    wrong = {item["loc"][0] for item in error.errors() if item["loc"]}
    if not wrong:
        return []
    try:
        right: dict[str, Any] = {"model": "any"}
        right |= {name: value for name, value in fields.items() if name not in wrong}
        EmbeddingConfig(**right)
    except ValidationError as rest:
        return explain(rest, EmbeddingConfig)
    return []


def explain(
    error: ValidationError, model: type[BaseModel], group: str = "", elsewhere: Iterable[str] = ()
) -> list[str]:
    """The errors of pydantic in words, one line each: the field, what is wrong with it, the value that was given.

    `group` stands before every field, as in run.actors; `elsewhere` are fields of other groups that may be meant.
    """
    return [_explained(item, model, group, elsewhere) for item in error.errors()]


def _explained(item: Any, model: type[BaseModel], group: str, elsewhere: Iterable[str]) -> str:
    field = ".".join(str(part) for part in item["loc"]) or "combination"
    if item["type"] == "extra_forbidden":
        fields = [group + name for name in model.model_fields]
        hint = did_you_mean(field, [*elsewhere, *fields])
        return f"unknown field {group + field!r}{hint or '; known fields: ' + ', '.join(fields)}"
    if item["type"] == "literal_error":
        words = re.findall(r"'([^']*)'", item["ctx"]["expected"])
        listed = f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]
        return f"{group}{item['loc'][0]}: {item['input']!r} is not {listed}{did_you_mean(str(item['input']), words)}"
    return f"{group}{field}: {item['msg'].removeprefix('Value error, ')} (got {item['input']!r})"[:400]
