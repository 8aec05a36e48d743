"""Any, as all of pyarrow."""

from typing import Any

def __getattr__(name: str) -> Any: ...
