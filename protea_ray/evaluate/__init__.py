"""Frozen embeddings on labelled tasks: tasks and splits, probes, metrics, and the report."""
