"""Memory and time of a recipe's SRL on given GPUs, by arithmetic: no torch, no weights.

`shape` counts weights from a model's configuration, `images` tokens of an image, `job` is what of a
recipe matters, `memory` and `duration` add up, `planning` puts them together, `tables` shows them.
"""
