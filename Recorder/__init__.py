"""The Recorder: a run's files, and what reads them again."""
