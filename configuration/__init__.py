"""The keys of a configuration, the rules between them, and how a fault is worded. `config` is the public face."""
