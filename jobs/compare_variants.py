"""`ray job submit --working-dir . -- python -m jobs.compare_variants MODEL`: `protea-ray compare-variants` as a job.

It takes the options of that command and runs in the job's own process: with `--entrypoint-num-gpus 1` on a GPU.
"""

from __future__ import annotations

from protea_ray.cli.main import run

if __name__ == "__main__":
    run("compare-variants", "python -m jobs.compare_variants")
