"""Libraries whose versions are shown, recorded beside vectors, or part of a calibration's name.

The names are those of the distributions, and their order is the order in a space's metadata.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

_PACKAGE = "protea-ray"
FROM_CHECKOUT = "checkout"  # in place of a version: run without being installed, as on a borrowed machine
_COMPUTE = ("torch", "transformers")
_STORE = ("pylance", "pyarrow")

OF_EMBEDDING = (_PACKAGE, "ray", *_COMPUTE, *_STORE)  # recorded in a space that this package computed
OF_IMPORT = (_PACKAGE, *_STORE)  # recorded in a space whose vectors were computed elsewhere
OF_CALIBRATION = (_PACKAGE, *_COMPUTE, "torchao", "bitsandbytes", "hqq")  # can change times or the largest token budget
SHOWN = (*OF_EMBEDDING, "numpy")  # by `protea-ray doctor`


def versions(names: tuple[str, ...]) -> dict[str, str]:
    """Installed version of each distribution; raises PackageNotFoundError for one that is not installed.

    This package itself may be run from its checkout.
    """
    return {name: (version_or_none(name) or FROM_CHECKOUT) if name == _PACKAGE else version(name) for name in names}


def version_or_none(name: str) -> str | None:
    """Installed version of a distribution, None where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
