"""MRG-R1: post-training of vision-language models for clinically right chest X-ray reports."""

__version__ = "0.1.0"
