"""pyarrow ships no types. Here all of it is Any, said once, so that strict checking of our own code can stay on."""

from typing import Any

def __getattr__(name: str) -> Any: ...
