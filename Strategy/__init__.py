"""The Strategy runs strategy files on every tick and news item, and sends their orders."""
