"""`ray job submit --working-dir . -- python -m jobs.reembed STORE --model NEW`: `protea-ray reembed` as a job.

Store and checkpoint must be reachable from every node. The proteins come from the store, so there are no inputs.
"""

from __future__ import annotations

import sys

from protea_ray.cli.main import run

if __name__ == "__main__":
    sys.argv = [sys.argv[0], "reembed", *sys.argv[1:]]
    run()
