"""Reading a store: proteins and vectors joined by key, neighbours, residue matrices. Nothing here writes."""
