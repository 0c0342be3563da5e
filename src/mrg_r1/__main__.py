"""`python -m mrg_r1` is `mrg-r1`: what `accelerate launch -m` needs."""

from mrg_r1.cli import main

main()
