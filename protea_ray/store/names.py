"""Names of the store's own tables. Every other table is a vector space, or somebody else's."""

PROTEINS = "proteins"
REJECTS = "rejects"
SOURCES = "sources"
RUNS = "runs"
ALIASES = "aliases"
LEASE = "lease"

OWN = frozenset({PROTEINS, REJECTS, SOURCES, RUNS, ALIASES, LEASE})
