"""Simulated markets: pure, seeded models of prices, and of when ticks arrive."""
