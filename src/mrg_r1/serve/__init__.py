"""HTTP servers: the reward for other trainers."""
