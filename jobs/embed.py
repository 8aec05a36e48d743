"""`ray job submit --working-dir . -- python -m jobs.embed INPUT... STORE [options]`: `protea-ray embed` as a job.

Inputs and store must be reachable from every node (an object store, or a shared file system).
"""

from __future__ import annotations

from protea_ray.cli.main import run

if __name__ == "__main__":
    run("embed", "python -m jobs.embed")
