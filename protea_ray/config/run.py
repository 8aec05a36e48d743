"""RunConfig: everything about a run that does not change a number, and the loading of run.yaml and --set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from protea_ray.config.paths import require_inputs
from protea_ray.config.recipe import EmbeddingConfig, embedding_config, explain, given_fields
from protea_ray.errors import ConfigError, InputError


def _switch(value: Any) -> Any:
    """YAML reads the words on and off as true and false."""
    return ("on" if value else "off") if isinstance(value, bool) else value


Compile = Annotated[Literal["auto", "on", "off"], BeforeValidator(_switch)]


def _device(value: Any) -> Any:
    """`mps` is what a Mac's user asks for first; it is answered in words."""
    if isinstance(value, str) and value.lower() in ("mps", "metal"):
        raise ValueError("a Mac's GPU is not used: what it computes is not checked here. Leave device out, or use cpu")
    return value


Device = Annotated[Literal["auto", "cpu", "cuda"], BeforeValidator(_device)]


class RunOptions(BaseModel):
    """How a run is carried out. None of these fields is part of a space's identity."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: Device = Field(default="auto", description="where the forward pass runs")
    actors: int | None = Field(default=None, gt=0, description="encoder actors; unset: one a GPU, else one a core")
    min_actors: int | None = Field(default=None, gt=0, description="smallest pool that may start work")
    token_budget: int | None = Field(default=None, gt=0, description="tokens of one micro-batch; unset: by device")
    kernel: Literal["auto", "sdpa", "toeplitz", "varlen", "flex"] = Field(
        default="auto", description="attention kernel; auto: the fastest exact one here"
    )
    compile: Compile = Field(default="auto", description="torch.compile of the layers; auto: where it pays")
    products: Literal["auto", "torch"] = Field(
        default="auto",
        description="matrix products of the layers; auto: oneDNN on x86 CPUs, joined on a GPU; torch: each as loaded",
    )
    window_proteins: int = Field(default=4096, gt=0, description="proteins sorted by length together")
    unit_seconds: float = Field(default=20.0, gt=0, description="predicted compute of one unit")
    commit_units: int = Field(default=64, gt=0, description="units of one commit, at most")
    commit_seconds: float = Field(default=30.0, gt=0, description="seconds between commits, at most")
    task_memory: int = Field(
        default=1 << 30, ge=64 << 20, description="bytes that one task may take which plans the work"
    )
    part_bytes: int = Field(default=64 << 20, ge=1 << 10, description="bytes of one parallel part of a plain FASTA")
    id_column: str = Field(default="id", min_length=1, description="column of tabular inputs that holds the id")
    sequence_column: str = Field(default="sequence", min_length=1, description="column that holds the letters")
    limit: int | None = Field(default=None, gt=0, description="read only the first N records; unset: all")
    max_rejects: int | None = Field(
        default=None, ge=0, description="exit code 3 when a run rejects more than this; unset: any number may be"
    )
    retry_rejects: bool = Field(default=False, description="try again what an earlier run rejected while embedding")
    heartbeat_seconds: float = Field(default=30.0, gt=0, description="a lease older than this may be taken over")
    address: str | None = Field(default=None, description="a running Ray cluster; unset: RAY_ADDRESS, else local")


class RunConfig(BaseModel):
    """One run: recipes of one checkpoint, and how to carry them out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipes: tuple[EmbeddingConfig, ...] = Field(min_length=1)
    run: RunOptions = RunOptions()


_RUN_FIELDS = [*(f"run.{name}" for name in RunOptions.model_fields), "recipes"]


def run_config(fields: dict[str, Any], *, where: str = "configuration") -> RunConfig:
    """Build a RunConfig from the fields of run.yaml; raises ConfigError with every mistake of every part.

    `fields` holds the fields of EmbeddingConfig at the top, `recipes` as a list of fields that differ from
    them (one space each; an EmbeddingConfig is taken too), and `run` for RunOptions.
    """
    shared = {k: v for k, v in fields.items() if k not in ("run", "recipes")}
    problems: list[str] = []
    variants: Any = fields.get("recipes") or [{}]
    if not isinstance(variants, list | tuple):
        problems.append(f"recipes: must be a list of mappings (got {variants!r})")
        variants = [{}]
    several = cast("Sequence[Any]", variants)
    recipes: list[EmbeddingConfig] = []
    for position, variant in enumerate(several):
        try:
            recipes.append(embedding_config({**shared, **given_fields(variant)}, elsewhere=_RUN_FIELDS))
        except ConfigError as error:
            label = f"recipes[{position}]: " if len(several) > 1 else ""
            problems += [label + p for p in error.problems]
        except (TypeError, ValueError):
            problems.append(f"recipes[{position}]: must be a mapping of fields (got {variant!r})")
    options = RunOptions()
    try:
        given: dict[str, Any] = fields.get("run") or {}
        options = RunOptions(**given)
    except ValidationError as error:
        problems += explain(error, RunOptions, "run.", EmbeddingConfig.model_fields)
    except TypeError:
        problems.append(f"run: must be a mapping of fields (got {fields['run']!r})")
    problems += _mixed_checkpoints(recipes)
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)), where=where)
    return RunConfig(recipes=tuple(recipes), run=options)


def options_alone(given: Mapping[str, Any]) -> RunOptions:
    """The options of a command that takes no recipe; raises ConfigError with every mistake."""
    return run_config({"model": "any", "run": given}).run


def require_fields(fields: dict[str, Any]) -> None:
    """Raise ConfigError with the mistakes of single fields, for a recipe whose other fields are not known yet."""
    try:
        run_config({"model": "any", **fields})
    except ConfigError as error:
        problems = [problem for problem in error.problems if "combination: " not in problem]
        if problems:
            raise ConfigError(problems) from None


def _mixed_checkpoints(recipes: list[EmbeddingConfig]) -> list[str]:
    """One pass can serve several recipes only if they share weights and arithmetic."""
    shared = ("model", "revision", "family", "dtype", "attention", "rope", "quantization", "max_residues", "on_long")
    shared += ("window_overlap", "stitch", "alphabet")
    return [
        f"recipes differ in {field} ({sorted({str(getattr(r, field)) for r in recipes})}); "
        "one pass needs one value, so run them one after the other"
        for field in shared
        if len({getattr(r, field) for r in recipes}) > 1
    ]


def load_fields(path: str | None, assignments: list[str], overrides: dict[str, Any]) -> dict[str, Any]:
    """Merge run.yaml, `--set a.b=c` and flags, later ones winning; raises ConfigError with every mistake."""
    fields = read_yaml(path) if path else {}
    problems: list[str] = []
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name.strip():
            problems.append(f"--set {assignment!r}: write name=value, as in run.actors=2")
            continue
        try:
            problems += _assign(fields, name.strip().split("."), yaml.safe_load(text))
        except yaml.YAMLError:
            problems.append(f"--set {assignment!r}: {text!r} is not a YAML value")
    for name, value in overrides.items():
        problems += _assign(fields, name.split("."), value)
    if problems:
        raise ConfigError(problems)
    return fields


def read_yaml(path: str, option: str = "--config") -> dict[str, Any]:
    """Read the fields of a YAML file; raises ConfigError, which names the `option` where there is no such file."""
    loaded: Any
    try:
        require_inputs([path])
        loaded = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except InputError as error:
        raise ConfigError(error.problems, where=option) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot be read as YAML: {error}", where=path) from None
    if loaded is None:
        return {}
    if not isinstance(loaded, dict) or not all(isinstance(key, str) for key in cast("dict[Any, Any]", loaded)):
        raise ConfigError("must be a mapping of field names to values", where=path)
    return cast("dict[str, Any]", loaded)


def _assign(fields: dict[str, Any], path: list[str], value: Any) -> list[str]:
    *parents, last = path
    for depth, parent in enumerate(parents, 1):
        below: Any = fields.setdefault(parent, {})
        if not isinstance(below, dict):
            return [f"{'.'.join(path)}: {'.'.join(path[:depth])} is a value, not a group of fields"]
        fields = cast("dict[str, Any]", below)
    fields[last] = value
    return []
