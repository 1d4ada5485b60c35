"""What copying, verifying and following cost: see docs/benchmarks.md."""
