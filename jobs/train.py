"""`ray job submit --working-dir . -- python -m jobs.train STORE OUT --shape small`: `protea-ray train` as a job.

STORE must be reachable from every node, and OUT a directory that all of them share. The proteins come from the store.
"""

from __future__ import annotations

from protea_ray.cli.main import run

if __name__ == "__main__":
    run("train", "python -m jobs.train")
