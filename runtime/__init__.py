"""What every process of the system shares: start, stop, event loop, supervision. No trading in here."""
