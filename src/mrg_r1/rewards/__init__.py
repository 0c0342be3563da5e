"""Rewards: completions in, one number each out, as TRL calls them."""
