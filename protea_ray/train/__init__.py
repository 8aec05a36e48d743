"""Training masked language models on the proteins of a store, with the packs and the layer loop that embed them."""
