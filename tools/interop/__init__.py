"""Programs that open what is exported, each run by the Python of its own environment: see `tools.interop_check`."""
