"""See fsspec/__init__.pyi."""

from typing import Any

from fsspec import AbstractFileSystem

def url_to_fs(url: str, **options: Any) -> tuple[AbstractFileSystem, str]: ...
def __getattr__(name: str) -> Any: ...
