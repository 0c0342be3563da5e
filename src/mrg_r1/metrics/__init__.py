"""Scores: clinical efficacy and its intervals."""
