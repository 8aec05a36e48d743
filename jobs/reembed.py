"""`ray job submit --working-dir . -- python -m jobs.reembed STORE --model NEW`: `protea-ray reembed` as a job.

Store and checkpoint must be reachable from every node. The proteins come from the store, so there are no inputs.
"""

from __future__ import annotations

from protea_ray.cli.main import run

if __name__ == "__main__":
    run("reembed", "python -m jobs.reembed")
