"""The Gateway turns a provider into streams; the only part that knows pace and pause."""
