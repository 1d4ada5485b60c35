"""`fearless data`: the data plane on its own, for any two tables."""
