"""Tables made from rows of the table `evaluations` alone: scores, normalised scores, lengths, layers, differences."""
