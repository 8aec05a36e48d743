"""`ray job submit --working-dir . -- python -m jobs.evaluate STORE --tasks NAMES`: `protea-ray evaluate` as a job.

STORE must be reachable from every node; the tasks' files are read where this runs.
"""

from __future__ import annotations

from protea_ray.cli.main import run

if __name__ == "__main__":
    run("evaluate", "python -m jobs.evaluate")
