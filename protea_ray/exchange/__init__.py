"""Other programs' files: vectors in, vectors out, and recipes of PROTEA."""
