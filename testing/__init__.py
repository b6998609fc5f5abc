"""Test tools, for our tests and for yours: free ports, conditions to wait on, a running system."""
