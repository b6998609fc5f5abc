"""The tape, the price book and the doorbells in shared memory. `shared_memory_utils` is the public face."""
