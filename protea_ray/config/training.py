"""The recipe of a training run, and the options that change no number.

`TrainingConfig` holds every field that changes a weight. The defaults of the class are the recipe of `small`, four
layers on a CPU; `training_presets` says what others change, and fields that are given win.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from protea_ray.config.attention_forms import AttentionVariant, attention_variant
from protea_ray.config.known_models import full_name
from protea_ray.config.recipe import Attention, TrainableQuantization, explain
from protea_ray.config.run import Compile
from protea_ray.config.training_presets import with_preset
from protea_ray.errors import ConfigError

SHAPE_NAMES = ("small", "default", "8M", "35M", "150M", "650M")
SPECIALS = 2  # tokens beside the residues of a protein: cls and eos
_COUNTS = (
    "lora_rank", "crop", "pack_tokens", "step_tokens", "tokens", "warmup_steps", "seed", "validation_every",
)  # fmt: skip
_SWITCHES = ("adapt", "gradient_checkpointing")
_WRITTEN_COUNT = re.compile(r"[0-9][0-9_]*(\.[0-9]+)?[eE]\+?[0-9]+")
_SHARE = re.compile(r"([0-9]{1,2}(?:\.[0-9]{1,4})?) ?%")


def _warm_up(value: Any) -> int | str:
    """A number of steps, or a share of the run in its one spelling, as in 3%."""
    text = str(value).strip().replace("_", "")
    if found := _SHARE.fullmatch(text):
        return f"{float(found[1]):g}%"
    try:
        steps = float(text)
    except ValueError:
        steps = -1.0
    if not (steps >= 0 and steps.is_integer()):
        raise ValueError("is neither a whole number of steps nor a share below 100% such as 3%")
    return int(steps)


WarmUp = Annotated[int | str, BeforeValidator(_warm_up)]


class TrainingConfig(BaseModel):
    """How weights come from proteins. Frozen; an unknown field is an error; all mistakes come in one message.

    >>> plan = training_config({"shape": "small", "epochs": 2})
    >>> plan.crop, plan.step_tokens // plan.pack_tokens, plan.learning_rate, plan.tokens, plan.epochs
    (510, 10, 0.0015, None, 2.0)
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    model: str | None = Field(default=None, min_length=1, description="continue from: name, hub id or directory")
    shape: str | None = Field(
        default=None, description="fresh weights: small, default, 8M, 35M, 150M, 650M or path of a config.json"
    )
    adapt: bool = Field(
        default=False,
        exclude=True,  # of the plan: it chooses what other fields are where they are not given
        strict=True,
        description="start from the recipe that brings a model to longer proteins",
    )
    attention: Attention | None = Field(
        default=None, description="exact, local:W, global:W or another form; unset: the model's own, else exact"
    )
    adapter: Literal["none", "lora", "qlora"] = Field(
        default="none",
        description="none, lora (low-rank factors beside frozen weights) or qlora (the weights in few bits)",
    )
    quantization: TrainableQuantization | None = Field(
        default=None,
        description="the frozen weights of qlora: int4, hqq:8, hqq:4, hqq:3 or hqq:2; unset: int4 with qlora",
    )
    feature_maps: Literal["none", "hedgehog"] = Field(
        default="none",
        description="hedgehog: learn the maps of linear attention, and train nothing else",
    )
    lora_rank: int = Field(default=8, gt=0, description="rank of an adapter's factors")
    lora_alpha: float = Field(default=16.0, gt=0, description="an adapter adds alpha / rank times its product")
    lora_targets: tuple[str, ...] = Field(
        default=("query", "key", "value"), min_length=1, description="layers that get an adapter"
    )
    mask_rate: float = Field(default=0.15, gt=0, lt=1, description="share of the residues that are predicted")
    mask_kind: Literal["bert", "mask"] = Field(
        default="bert", description="bert (80 % masked, 10 % another amino acid, 10 % kept) or mask (all masked)"
    )
    crop: int = Field(default=510, gt=0, description="longest stretch of a protein in a step, in residues, at random")
    pack_tokens: int = Field(default=1_536, gt=0, description="tokens of one pack, one forward pass")
    step_tokens: int = Field(default=15_360, gt=0, description="tokens of one optimiser step, a multiple of a pack's")
    tokens: int | None = Field(default=None, gt=0, description="length of the run in tokens (this or epochs)")
    epochs: float | None = Field(default=None, gt=0, description="length of the run in epochs (this or tokens)")
    optimiser: Literal["adamw", "muon"] = Field(
        default="adamw", description="adamw, or muon for the layers' matrices with adamw for the rest"
    )
    learning_rate: float = Field(default=1.5e-3, gt=0, lt=1, description="highest learning rate")
    weight_decay: float = Field(default=0.1, ge=0, lt=1, description="decoupled decay of the matrices")
    beta1: float = Field(default=0.9, ge=0, lt=1, description="decay of the mean of the gradient")
    beta2: float = Field(default=0.98, ge=0, lt=1, description="decay of the mean of its square")
    epsilon: float = Field(default=1e-8, gt=0, description="added to the root of that mean")
    clip: float | None = Field(default=1.0, gt=0, description="largest norm of the gradient; null: not clipped")
    warmup_steps: WarmUp = Field(
        default=200, description="steps in which the learning rate rises, or a share of the run as 3%"
    )
    schedule: Literal["linear", "cosine", "constant"] = Field(
        default="linear", description="learning rate after it: linear and cosine fall to 0 at the end, or constant"
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="dropout of the hidden states")
    ema: float = Field(default=0.0, ge=0, lt=1, description="decay of averaged weights, which are evaluated; 0: off")
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        default="bfloat16", description="precision of the products (weights stay float32)"
    )
    gradient_checkpointing: bool = Field(default=False, description="compute layers twice to save memory")
    seed: int = Field(default=0, ge=0, lt=1 << 63, description="of fresh weights, order, crops and masks")
    validation_share: float = Field(
        default=0.05, gt=0, lt=1, description="share of the proteins kept for validation, as whole clusters"
    )
    validation_every: int = Field(default=200, gt=0, description="steps between two validations")

    @field_validator("*", mode="before")
    @classmethod
    def _numbers_are_numbers(cls, value: Any, info: Any) -> Any:
        if isinstance(value, bool) and info.field_name not in _SWITCHES:  # pydantic would read True as 1
            raise ValueError("must be a value, not true or false")
        if info.field_name in _COUNTS and isinstance(value, str) and _WRITTEN_COUNT.fullmatch(value.strip()):
            return float(value)  # 60e6; pydantic refuses what is not whole
        if info.field_name == "clip" and value in ("null", "none"):  # a flag cannot give what a file can
            return None
        return value

    @field_validator("model")
    @classmethod
    def _model_in_full(cls, value: str | None) -> str | None:
        return None if value is None else full_name(value)

    @field_validator("shape")
    @classmethod
    def _shape_is_known(cls, value: str | None) -> str | None:
        if value is None or value in SHAPE_NAMES or value.endswith(".json"):
            return value
        near = _nearest(value)
        raise ValueError(f"is not known; {near}choose from {', '.join(SHAPE_NAMES)}, or give the path of a config.json")

    @model_validator(mode="after")
    def _fields_fit(self) -> TrainingConfig:
        if problems := [*_source_problems(self), *_step_problems(self)]:
            raise ValueError("\n".join(problems))
        return self

    @property
    def variant(self) -> AttentionVariant:
        """How layers attend; exact where the recipe leaves it to a model that has not been looked at."""
        return attention_variant(self.attention or "exact")

    def warm_up(self, steps: int) -> int:
        """Steps in which the learning rate rises, of a run of `steps`; a share is rounded up.

        >>> training_config({"model": "m", "adapt": True}).warm_up(1_000)
        30
        """
        if isinstance(self.warmup_steps, int):
            return min(self.warmup_steps, steps)
        return min(steps, math.ceil(round(float(self.warmup_steps.rstrip("%")) * steps / 100, 6)))

    @property
    def base_quantization(self) -> TrainableQuantization | None:
        """How the frozen weights of qlora are quantised; None for every other run."""
        return (self.quantization or "int4") if self.adapter == "qlora" else None


class TrainingOptions(BaseModel):
    """How a training run is carried out. None of these fields changes what is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="where the steps run")
    workers: int | None = Field(
        default=None, ge=0, description="Ray Train workers, 0 for none (in this process); unset: one a GPU, else 1"
    )
    compile: Compile = Field(default="auto", description="torch.compile of the layers; auto: where it pays")
    checkpoint_minutes: float = Field(default=5.0, gt=0, description="minutes between two checkpoints, at most")
    keep: int = Field(default=2, gt=0, description="newest checkpoints that are kept, beside the best")
    max_failures: int = Field(default=3, ge=0, description="times that a lost worker is replaced")
    address: str | None = Field(default=None, description="a running Ray cluster; unset: RAY_ADDRESS, else local")


def training_config(fields: Mapping[str, Any], *, where: str = "TrainingConfig") -> TrainingConfig:
    """Build a recipe from untrusted fields over their preset; raises ConfigError that lists every mistake.

    >>> try:
    ...     training_config({"shape": "8m", "mask_rate": 15, "tokens": 1_000_000, "epochs": 2})
    ... except ConfigError as error:
    ...     print(*error.problems, sep="\\n")
    shape: is not known; did you mean 8M? choose from small, default, 8M, 35M, 150M, 650M, or give the path of a \
config.json (got '8m')
    mask_rate: Input should be less than 1 (got 15)
    tokens and epochs are both given; the length of a run is one of them
    """
    filled = with_preset(fields)
    try:
        return TrainingConfig(**filled)
    except ValidationError as error:
        raise ConfigError(list(dict.fromkeys(_mistakes(filled, error))), where=where) from None


def training_run(fields: Mapping[str, Any], *, where: str = "configuration") -> tuple[TrainingConfig, TrainingOptions]:
    """Recipe and options from the fields of a file: recipe at the top, options under `run`; every mistake at once."""
    problems: list[str] = []
    config, options = None, TrainingOptions()
    try:
        config = training_config({name: value for name, value in fields.items() if name != "run"})
    except ConfigError as error:
        problems += error.problems
    given: Any = fields.get("run") or {}
    if isinstance(given, dict):
        try:
            options = TrainingOptions(**cast("dict[str, Any]", given))
        except ValidationError as error:
            problems += explain(error, TrainingOptions, "run.", TrainingConfig.model_fields)
    else:
        problems.append(f"run: must be a mapping of fields (got {given!r})")
    if config is None or problems:
        raise ConfigError(problems, where=where)
    return config, options


def _nearest(shape: str) -> str:
    found = get_close_matches(shape.lower(), [name.lower() for name in SHAPE_NAMES], n=1, cutoff=0.4)
    return next((f"did you mean {name}? " for name in SHAPE_NAMES if name.lower() in found), "")


def _source_problems(config: TrainingConfig) -> list[str]:
    """In words, what is wrong with where the weights come from and how long the run is."""
    problems: list[str] = []
    if config.adapt and config.model is None:
        instead = f" in place of shape {config.shape}" if config.shape else ""
        problems.append(f"adapt goes on with a trained model: name it as model{instead}")
    elif config.model is None and config.shape is None:
        problems.append("neither model nor shape is given; a shape starts with fresh weights, a model continues")
    if config.model is not None and config.shape is not None:
        problems.append(f"model {config.model} and shape {config.shape} are both given; give one of them")
    if config.tokens is None and config.epochs is None:
        problems.append("neither tokens nor epochs is given; one of them is the length of the run")
    if config.tokens is not None and config.epochs is not None:
        problems.append("tokens and epochs are both given; the length of a run is one of them")
    if config.adapter != "none" and config.model is None:
        problems.append(f"adapter {config.adapter} needs a model: fresh weights that stay frozen hold nothing")
    problems += _map_problems(config)
    knobs = ("lora_rank", "lora_alpha", "lora_targets")
    idle = [name for name in knobs if getattr(config, name) != TrainingConfig.model_fields[name].default]
    if config.adapter == "none" and idle:
        problems.append(f"{', '.join(idle)} without an adapter would change nothing; set adapter to lora or qlora")
    if config.quantization and config.adapter != "qlora":
        problems.append(
            f"quantization {config.quantization} is for frozen weights; set adapter to qlora, or leave it out"
        )
    return problems


def _map_problems(config: TrainingConfig) -> list[str]:
    """In words, what stands against feature maps that are learned or attended through."""
    if config.feature_maps == "none":
        fresh = config.model is None and config.variant.kind == "hedgehog"
        return ["attention hedgehog needs a model whose feature maps were learned (feature_maps)"] if fresh else []
    problems: list[str] = []
    if config.model is None:
        problems.append("feature_maps needs a model: the attention of fresh weights is not worth learning from")
    if config.variant.kind != "exact":
        problems.append(f"feature_maps learns from exact attention, not from {config.variant}; leave attention unset")
    if config.adapter != "none":
        problems.append(
            f"feature_maps and adapter {config.adapter} are two runs: first the maps, then the adapter on the model "
            "that has them, with attention hedgehog"
        )
    idle = {"dropout": config.dropout, "gradient_checkpointing": config.gradient_checkpointing,
            "optimiser muon": config.optimiser == "muon"}  # fmt: skip
    if given := [name for name, value in idle.items() if value]:
        problems.append(f"{', '.join(given)} would change nothing but the maps' lesson; leave it out with feature_maps")
    return problems


def _step_problems(config: TrainingConfig) -> list[str]:
    """In words, what is wrong with the sizes of a crop, a pack, a step and the run."""
    problems: list[str] = []
    pack, step = config.pack_tokens, config.step_tokens
    if pack < config.crop + SPECIALS:
        problems.append(
            f"pack_tokens {pack} cannot hold a crop of {config.crop} residues; set at least {config.crop + SPECIALS}"
        )
    if step % pack:
        near = sorted({max(step // pack, 1) * pack, (step // pack + 1) * pack})
        problems.append(
            f"step_tokens {step} is no multiple of pack_tokens {pack}; nearest: {' or '.join(map(str, near))}"
        )
    if config.tokens is not None and config.tokens < step:
        problems.append(f"tokens {config.tokens} is less than step_tokens {step}, one step")
    return problems


def _mistakes(fields: Mapping[str, Any], error: ValidationError) -> list[str]:
    """Every mistake in words: those of single fields, and wrong combinations of the fields that are right."""
    wrong = {item["loc"][0] for item in error.errors() if item["loc"]}
    if not wrong:
        return _separate(error)
    lines = explain(error, TrainingConfig)
    stand_ins: dict[str, Any] = {"shape": "small", "model": "any", "tokens": 1 << 62, "epochs": 1.0, "adapter": "none"}
    right = {name: value for name, value in fields.items() if name not in wrong}
    right |= {name: value for name, value in stand_ins.items() if name in wrong}
    try:
        TrainingConfig(**right)
    except ValidationError as rest:
        lines += _separate(rest)
    return lines


def _separate(error: ValidationError) -> list[str]:
    """The combinations that a validator joined, one line each."""
    return [part for item in error.errors() for part in item["msg"].removeprefix("Value error, ").splitlines()]
