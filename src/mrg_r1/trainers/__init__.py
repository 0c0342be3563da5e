"""What stands between our samples and TRL's trainers."""
