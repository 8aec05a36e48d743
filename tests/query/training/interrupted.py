"""A training job in a process of its own: takes some batches through two workers, saves the state, and is killed."""

from __future__ import annotations

import json
import os
import signal
import sys
from itertools import islice
from pathlib import Path

from protea_ray.query.reader import Store, open_store
from protea_ray.query.training.torch_dataset import TorchDataset

BATCH = 2048


def data(store: Store, **options: object) -> TorchDataset:
    return store.torch(columns=["id", "mean"], batch_size=BATCH, shuffle=True, seed=4, **options)  # type: ignore


def main(uri: str, taken: int, saved: Path) -> None:
    loader = data(open_store(uri)).loader(workers=2)
    read = [batch["id"] for batch in islice(loader, taken)]
    saved.write_text(json.dumps({"state": loader.state_dict(), "read": read}))
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
