"""Proteins through language models: recognise a checkpoint, load it, embed.

Read in the order of execution: `families` (what a checkpoint is), `encoder` (load, embed), `layout` (windows and
spans of one protein), `batch` and `forward` (one pack through the layers), `attention`, `pool`, `collect`.
Nothing is imported here: the driver asks `families` for facts without loading torch.
"""
