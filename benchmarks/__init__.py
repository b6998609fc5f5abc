"""Benchmarks: `python benchmarks/latency.py` measures everything and writes RESULTS.md."""
