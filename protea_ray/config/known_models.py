"""Published models by short names, and the facts by which a person chooses one.

A short name stands for one hub id everywhere a model is named, so the space is the one that the hub id gives. Case does
not matter, nor whether words are joined by - or _: `ESM2-650M` of FastPLMs, `esm2_t33_650M_UR50D` of fair-esm and
`esm2_650m` are one. A path with a slash is always a path.

Sources of the facts. Layers, widths and trained lengths are those of each model's published config.json; `millions`
counts the parameters of the encoder that this package loads, without a decoder or a language-model head (a test counts
them again from the shapes). Licences are those of the cards on the hub (ESM-2, ESM-C, ProstT5; ESM-C's adds notices of
third parties) and of the READMEs of ProtTrans (ProtT5) and Ankh. `cost` is time a residue on an H200 in half precision,
ESM-2 650M = 1 (docs/performance.md); None: not measured there.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

TWIN = "untrained:"  # before the name of a model: its untrained twin
MIT, AFL, NON_COMMERCIAL = "MIT", "AFL-3.0", "CC-BY-NC-SA-4.0"


@dataclass(frozen=True)
class KnownModel:
    """One published model. `millions` of parameters; `trained_length` in residues, None where positions are relative;
    `others`: more short names."""

    name: str
    hub_id: str
    layers: int
    width: int
    millions: float
    trained_length: int | None
    licence: str
    cost: float | None = None
    others: tuple[str, ...] = ()

    def weights(self, bytes_each: int) -> int:
        """Bytes of the encoder's weights in memory."""
        return round(self.millions * 1e6) * bytes_each


_T5 = (24, 1024, 1208, None)  # ProtT5 and ProstT5 are one shape, that of T5-3B's encoder
KNOWN = (
    KnownModel("esm2_8m", "facebook/esm2_t6_8M_UR50D", 6, 320, 7.4, 1022, MIT),
    KnownModel("esm2_35m", "facebook/esm2_t12_35M_UR50D", 12, 480, 33, 1022, MIT),
    KnownModel("esm2_150m", "facebook/esm2_t30_150M_UR50D", 30, 640, 148, 1022, MIT),
    KnownModel("esm2_650m", "facebook/esm2_t33_650M_UR50D", 33, 1280, 649, 1022, MIT, 1.0),
    KnownModel("esm2_3b", "facebook/esm2_t36_3B_UR50D", 36, 2560, 2832, 1022, MIT),
    KnownModel("esm2_15b", "facebook/esm2_t48_15B_UR50D", 48, 5120, 15103, 1022, MIT),
    KnownModel("esmc_300m", "biohub/ESMC-300M", 30, 960, 332, 2046, MIT, None,
               ("esmc_300m_2024_12", "esmplusplus_small")),
    KnownModel("esmc_600m", "biohub/ESMC-600M", 36, 1152, 574, 2046, MIT, 0.92,
               ("esmc_600m_2024_12", "esmplusplus_large")),
    KnownModel("esmc_6b", "biohub/ESMC-6B", 80, 2560, 6345, 2046, MIT),
    KnownModel("prot_t5", "Rostlab/prot_t5_xl_uniref50", *_T5, AFL, 2.6,
               ("prott5", "prot_t5_xl", "prott5_xl", "prott5_xl_u50")),
    KnownModel("prot_t5_half", "Rostlab/prot_t5_xl_half_uniref50-enc", *_T5, AFL, None,
               ("prott5_half", "prot_t5_xl_half")),
    KnownModel("prot_t5_bfd", "Rostlab/prot_t5_xl_bfd", *_T5, AFL, None, ("prott5_bfd",)),
    KnownModel("prostt5", "Rostlab/ProstT5", *_T5, MIT, None, ("prost_t5",)),
    KnownModel("ankh_base", "ElnaggarLab/ankh-base", 48, 768, 453, None, NON_COMMERCIAL),
    KnownModel("ankh_large", "ElnaggarLab/ankh-large", 48, 1536, 1152, None, NON_COMMERCIAL),
)  # fmt: skip


def _spelt(name: str) -> str:
    """A name as it is compared: lower case, words joined by _."""
    return name.lower().replace("-", "_").replace(".", "_")


_BY_NAME = {_spelt(name): known for known in KNOWN for name in (known.name, *known.others, known.hub_id.split("/")[1])}


def full_name(model: str) -> str:
    """The hub id of a known model's short name, behind `untrained:` too; any other name as it is.

    Raises ValueError for a short name that is a directory here too: it would be a matter of the place from which a
    command is given; and for `untrained:` without a name.

    >>> full_name("ESM2-650M"), full_name("Rostlab/ProstT5"), full_name("./esm2_650m"), full_name("small")
    ('facebook/esm2_t33_650M_UR50D', 'Rostlab/ProstT5', './esm2_650m', 'small')
    >>> full_name("untrained:esm2_650m")
    'untrained:facebook/esm2_t33_650M_UR50D'
    """
    if model.startswith(TWIN):
        if not (trained := without_twin(model)):
            raise ValueError(f"{TWIN} names no model; put one behind it, as in {TWIN}esm2_650m")
        return TWIN + full_name(trained)
    known = _BY_NAME.get(_spelt(model)) if "/" not in model else None
    if known is None:
        return model
    if Path(model).is_dir():
        raise ValueError(
            f"{model} is short for {known.hub_id}, and there is a directory of that name here. Name ./{model} for the "
            f"directory, or {known.hub_id} for the published model"
        )
    return known.hub_id


def without_twin(model: str) -> str:
    """The name of the model whose untrained twin `model` names; any other name as it is.

    >>> without_twin("untrained:small"), without_twin("small")
    ('small', 'small')
    """
    while model.startswith(TWIN):  # a twin is its own
        model = model.removeprefix(TWIN)
    return model


def nearest_name(model: str) -> str | None:
    """The short name that one without a slash may be a typing error of; None if none is like it."""
    like = get_close_matches(_spelt(model), _BY_NAME, n=1, cutoff=0.7)
    return _BY_NAME[like[0]].name if like else None
