"""What sources call the projection of a view, and which position that is."""

from __future__ import annotations

from mrg_r1.data.study import Position

POSITIONS = {
    "": Position.UNKNOWN,
    "UNKNOWN": Position.UNKNOWN,
    "FRONTAL": Position.FRONTAL,
    "PA": Position.FRONTAL,
    "AP": Position.FRONTAL,
    "LATERAL": Position.LATERAL,
    "LL": Position.LATERAL,
}
"""Positions by name in capitals; decubitus, oblique and swimmer's views are not among them."""
