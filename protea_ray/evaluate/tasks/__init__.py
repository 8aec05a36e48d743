"""TaskLabels tasks from files: named ones of a data folder, a user's table, FASTA of biotrainer; joined to a store."""

from protea_ray.evaluate.tasks.named import known_tasks, read_labelled, read_task

__all__ = ["known_tasks", "read_labelled", "read_task"]
