"""Policies: the tiny VLM, loading, and generation."""
