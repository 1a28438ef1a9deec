"""decide.thompson: the exact probability that each of several Beta variables is the largest. *thompson* → policy.

Thompson sampling draws from each posterior and takes the largest; the propensity of that draw is the integral of f_a · Π F_b
over b ≠ a. It is computed by quadrature, in these steps:
- in t = log(x / (1 - x)) each density is exp(wins·t - (wins + losses)·log(1 + e^t)) up to a constant: smooth and log-concave on
  the whole line, without the poles that Beta(½, ½) has at 0 and 1;
- each density is cut into panels where it has fallen by fixed amounts from its top; all arms' cuts together make the panels,
  so every density is resolved on every panel however much narrower it is than its neighbours;
- on a panel, 16 Gauss-Legendre nodes carry the density, and the exact integral of its interpolating polynomial gives the
  distribution function at the same nodes. No special function is needed, and constants cancel by normalising.
Sums run in a fixed order and not through BLAS, so a propensity repeats bit for bit on one kind of machine.
"""

from __future__ import annotations

import numpy as np
from numpy.polynomial import legendre

from stream_infer.records import Floats

NODES = 16
# How far below its top the log-density lies at the cuts. Beyond 45 (e^-45 = 3e-20) nothing counts in float64.
_FALLS = np.array([0.25, 1.0, 2.5, 5.0, 9.0, 14.0, 21.0, 31.0, 45.0])


def _integration() -> tuple[Floats, Floats, Floats]:
    """(nodes[16] in [-1, 1], weights[16], matrix[16, 16]: row i gives ∫ from -1 to node i of the polynomial through the values)."""
    nodes, weights = legendre.leggauss(NODES)
    values = legendre.legvander(nodes, NODES)
    degree = np.arange(1, NODES)
    # ∫P_m from -1 to x = (P_{m+1}(x) - P_{m-1}(x)) / (2m + 1), and x + 1 for m = 0; Lagrange's l_j = Σ_m (m + ½) w_j P_m(x_j) P_m.
    integrals = np.concatenate([(nodes + 1.0)[:, None], (values[:, 2:] - values[:, :-2]) / (2 * degree + 1)], axis=1)
    return nodes, weights, integrals @ (values[:, :NODES] * (np.arange(NODES) + 0.5) * weights[:, None]).T


_X, _W, _Q = _integration()


def best_arm_probabilities(wins: Floats, losses: Floats) -> Floats:
    """wins, losses: float64[arms] > 0, the parameters of Beta(wins, losses). Returns float64[arms] summing to 1 within 1e-12."""
    if len(wins) == 1:
        return np.ones(1)
    cuts = np.unique(_cuts(wins, losses))
    half = np.diff(cuts) / 2.0
    t = (cuts[:-1] + half)[:, None] + half[:, None] * _X
    density = np.exp(_log_density(t, wins[:, None, None], losses[:, None, None]) - _top(wins, losses)[:, None, None]) * half[:, None]
    below = _cumulated(density)
    # Products of all the others, from the left and from the right: no division, so a vanishing F harms nobody else.
    left = np.cumprod(np.concatenate([np.ones_like(below[:1]), below[:-1]]), axis=0)
    right = np.cumprod(np.concatenate([np.ones_like(below[:1]), below[:0:-1]]), axis=0)[::-1]
    mass = (density * _W).sum(axis=(1, 2))
    p: Floats = (density * left * right * _W).sum(axis=(1, 2)) / mass
    p /= p.sum()
    return p


def _cumulated(density: Floats) -> Floats:
    """density: [arms, panels, nodes] times half the panel's width. Returns the distribution functions at the nodes, in [0, 1]."""
    within = np.zeros_like(density)
    for node in range(NODES):
        within += density[:, :, node, None] * _Q[:, node]
    panels = np.cumsum((density * _W).sum(axis=2), axis=1)
    before = np.concatenate([np.zeros_like(panels[:, :1]), panels[:, :-1]], axis=1)
    out: Floats = np.clip((within + before[:, :, None]) / panels[:, -1:, None], 0.0, 1.0)
    return out


def _log_density(t: Floats, wins: Floats, losses: Floats) -> Floats:
    """Of log(x / (1 - x)) under Beta(wins, losses), without its constant; log(1 + e^-|t|) keeps both tails exact."""
    tail = np.log1p(np.exp(-np.abs(t)))
    out: Floats = -losses * np.maximum(t, 0.0) + wins * np.minimum(t, 0.0) - (wins + losses) * tail
    return out


def _top(wins: Floats, losses: Floats) -> Floats:
    return _log_density(np.log(wins / losses), wins, losses)


def _cuts(wins: Floats, losses: Floats) -> Floats:
    """float64[arms, 2·falls + 1]: where each log-density is highest, and where it has fallen by each of _FALLS on both sides."""
    top = np.log(wins / losses)[:, None]
    level = _top(wins, losses)[:, None] - _FALLS
    sides = [top]
    for sign in (-1.0, 1.0):
        # Outside the bracket's far end the density has fallen enough: its tails are e^(wins·t) and e^(-losses·t) times at most 2^(a+b).
        slope = np.minimum(wins, losses)[:, None]
        near, far = np.zeros_like(level), np.broadcast_to(1.0 + (_FALLS + 1.0) * (1.0 + 1.0 / slope) + np.abs(top), level.shape).copy()
        far = _widen(far, top, sign, level, wins, losses)
        for _ in range(60):
            middle = (near + far) / 2.0
            inside = _log_density(top + sign * middle, wins[:, None], losses[:, None]) > level
            near, far = np.where(inside, middle, near), np.where(inside, far, middle)
        sides.append(top + sign * far)
    return np.concatenate(sides, axis=1)


def _widen(far: Floats, top: Floats, sign: float, level: Floats, wins: Floats, losses: Floats) -> Floats:
    """Double the brackets that end where the density is still too high."""
    while (short := _log_density(top + sign * far, wins[:, None], losses[:, None]) > level).any():
        far = np.where(short, far * 2.0, far)
    return far
