"""fsspec ships no types. What this package uses of it, with Any for what every remote filesystem does its own way."""

from typing import Any

class AbstractFileSystem:
    protocol: str | tuple[str, ...]
    def __getattr__(self, name: str) -> Any: ...

def __getattr__(name: str) -> Any: ...
