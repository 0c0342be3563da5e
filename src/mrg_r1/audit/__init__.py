"""The audit page: a pure function of a run's files."""

from mrg_r1.audit.page import write_audit

__all__ = ["write_audit"]
