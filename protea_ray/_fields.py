"""Keywords of embed, reembed and train. `python -m tools.flags` writes this file from the models; do not edit it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypedDict


class RecipeFields(TypedDict, total=False):
    """Fields of EmbeddingConfig, but for `model`."""

    revision: str | None
    """40-hex commit of a hub id; unset: resolved and recorded"""
    family: str
    """esm2, esmc, t5, ankh, a plugin's name, or auto"""
    alphabet: Literal["aa", "3di"] | None
    """what the letters are: aa (amino acids) or 3di (structure, ProstT5); unset: aa"""
    layers: Sequence[int]
    """layers counted from the end, 0 = last: 0 or 0,1,2"""
    layer_agg: Literal["mean", "last", "concat"]
    """how several layers become one"""
    pooling: Sequence[Literal["mean", "max", "cls", "mean_max", "std", "none"]]
    """how residues become one vector, none to keep them"""
    outputs: Sequence[Literal["embeddings", "logits"]]
    """embeddings, or embeddings,logits for the language model's logits per residue"""
    normalize_residues: bool
    """L2 of each residue before pooling"""
    normalize: bool
    """L2 of the pooled vector"""
    max_residues: int | None
    """longest stretch of one forward pass, in residues; unset: trained length"""
    on_long: Literal["window", "truncate", "reject"]
    """what becomes of a protein past max_residues"""
    window_overlap: int
    """overlap of forward windows, in residues"""
    chunk_size: int | None
    """residues per stored row; unset: whole protein"""
    chunk_overlap: int
    """overlap of stored rows, in residues"""
    chunk_mode: Literal["posthoc", "independent"]
    """each chunk on its own (independent), or cut after one pass (posthoc)"""
    dtype: Literal["float32", "float16", "bfloat16"] | None
    """compute precision; unset: by device and family"""
    store_dtype: Literal["float16", "float32"]
    """stored precision"""
    attention: str | None
    """exact, local:W, global:W or another form; unset: the checkpoint's own, mostly exact"""
    rope: str
    """rotary positions stretched: none, linear:S, ntk:S or yarn:S"""
    stitch: Literal["owner", "average"]
    """residues of several windows: from one (owner), or windows averaged by position"""
    quantization: Literal["int8", "int4", "hqq:8", "hqq:4", "hqq:3", "hqq:2"] | None
    """weights in fewer bits: int8, int4, hqq:8, hqq:4, hqq:3 or hqq:2; unset: no"""


class RunFields(TypedDict, total=False):
    """Fields of RunOptions."""

    device: Literal["auto", "cpu", "cuda"]
    """where the forward pass runs"""
    actors: int | None
    """encoder actors; unset: one a GPU, else one a core"""
    min_actors: int | None
    """smallest pool that may start work"""
    token_budget: int | None
    """tokens of one micro-batch; unset: by device"""
    kernel: Literal["auto", "sdpa", "toeplitz", "varlen", "flex"]
    """attention kernel; auto: the fastest exact one here"""
    compile: Literal["auto", "on", "off"]
    """torch.compile of the layers; auto: where it pays"""
    products: Literal["auto", "torch"]
    """matrix products of the layers; auto: oneDNN on x86 CPUs, joined on a GPU; torch: each as loaded"""
    window_proteins: int
    """proteins sorted by length together"""
    unit_seconds: float
    """predicted compute of one unit"""
    commit_units: int
    """units of one commit, at most"""
    commit_seconds: float
    """seconds between commits, at most"""
    task_memory: int
    """bytes that one task may take which plans the work"""
    part_bytes: int
    """bytes of one parallel part of a plain FASTA"""
    id_column: str
    """column of tabular inputs that holds the id"""
    sequence_column: str
    """column that holds the letters"""
    limit: int | None
    """read only the first N records; unset: all"""
    max_rejects: int | None
    """exit code 3 when a run rejects more than this; unset: any number may be"""
    retry_rejects: bool
    """try again what an earlier run rejected while embedding"""
    heartbeat_seconds: float
    """a lease older than this may be taken over"""
    address: str | None
    """a running Ray cluster; unset: RAY_ADDRESS, else local"""


class TrainingFields(TypedDict, total=False):
    """Fields of TrainingConfig."""

    model: str | None
    """continue from: name, hub id or directory"""
    shape: str | None
    """fresh weights: small, default, 8M, 35M, 150M, 650M or path of a config.json"""
    adapt: bool
    """start from the recipe that brings a model to longer proteins"""
    attention: str | None
    """exact, local:W, global:W or another form; unset: the model's own, else exact"""
    adapter: Literal["none", "lora", "qlora"]
    """none, lora (low-rank factors beside frozen weights) or qlora (the weights in few bits)"""
    quantization: Literal["int4", "hqq:8", "hqq:4", "hqq:3", "hqq:2"] | None
    """the frozen weights of qlora: int4, hqq:8, hqq:4, hqq:3 or hqq:2; unset: int4 with qlora"""
    feature_maps: Literal["none", "hedgehog"]
    """hedgehog: learn the maps of linear attention, and train nothing else"""
    lora_rank: int
    """rank of an adapter's factors"""
    lora_alpha: float
    """an adapter adds alpha / rank times its product"""
    lora_targets: Sequence[str]
    """layers that get an adapter"""
    mask_rate: float
    """share of the residues that are predicted"""
    mask_kind: Literal["bert", "mask"]
    """bert (80 % masked, 10 % another amino acid, 10 % kept) or mask (all masked)"""
    crop: int
    """longest stretch of a protein in a step, in residues, at random"""
    pack_tokens: int
    """tokens of one pack, one forward pass"""
    step_tokens: int
    """tokens of one optimiser step, a multiple of a pack's"""
    tokens: int | None
    """length of the run in tokens (this or epochs)"""
    epochs: float | None
    """length of the run in epochs (this or tokens)"""
    optimiser: Literal["adamw", "muon"]
    """adamw, or muon for the layers' matrices with adamw for the rest"""
    learning_rate: float
    """highest learning rate"""
    weight_decay: float
    """decoupled decay of the matrices"""
    beta1: float
    """decay of the mean of the gradient"""
    beta2: float
    """decay of the mean of its square"""
    epsilon: float
    """added to the root of that mean"""
    clip: float | None
    """largest norm of the gradient; null: not clipped"""
    warmup_steps: int | str
    """steps in which the learning rate rises, or a share of the run as 3%"""
    schedule: Literal["linear", "cosine", "constant"]
    """learning rate after it: linear and cosine fall to 0 at the end, or constant"""
    dropout: float
    """dropout of the hidden states"""
    ema: float
    """decay of averaged weights, which are evaluated; 0: off"""
    dtype: Literal["float32", "bfloat16", "float16"]
    """precision of the products (weights stay float32)"""
    gradient_checkpointing: bool
    """compute layers twice to save memory"""
    seed: int
    """of fresh weights, order, crops and masks"""
    validation_share: float
    """share of the proteins kept for validation, as whole clusters"""
    validation_every: int
    """steps between two validations"""


class TrainingRunFields(TypedDict, total=False):
    """Fields of TrainingOptions."""

    device: Literal["auto", "cpu", "cuda"]
    """where the steps run"""
    workers: int | None
    """Ray Train workers, 0 for none (in this process); unset: one a GPU, else 1"""
    compile: Literal["auto", "on", "off"]
    """torch.compile of the layers; auto: where it pays"""
    checkpoint_minutes: float
    """minutes between two checkpoints, at most"""
    keep: int
    """newest checkpoints that are kept, beside the best"""
    max_failures: int
    """times that a lost worker is replaced"""
    address: str | None
    """a running Ray cluster; unset: RAY_ADDRESS, else local"""
