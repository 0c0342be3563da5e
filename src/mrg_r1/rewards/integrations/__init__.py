"""The reward in the shape that other trainers call, one module a trainer.

None of them imports a trainer or torch. Each module's own functions are the paper's reward read
by rules; for another one, hand a `TotalReward` (or a `RemoteReward`) to the module's `make`
function. Versions and the lines to add are in `docs/trainers.md`.
"""
