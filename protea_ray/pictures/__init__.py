"""Pictures of a store: what they show as plain values, and the figures drawn from it. Reads no store."""
