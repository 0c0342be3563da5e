"""The audit page: a pure function of a run's files."""
