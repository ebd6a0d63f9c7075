"""Benchmarks that print ratios to a limit measured in the same run. See docs/benchmarks.md."""
