"""Training language models on the proteins of a store: which residues are predicted, and what a good guess is worth."""
