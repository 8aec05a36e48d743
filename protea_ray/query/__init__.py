"""Reading a store at a pin: proteins joined to vectors, neighbours, residue matrices, training data. Writes nothing."""
