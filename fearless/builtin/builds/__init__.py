"""Container builds by a Docker engine: what is asked, by which builder, and what came of it."""
