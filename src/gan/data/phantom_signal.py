"""Signal of a tissue in an MR sequence: relaxation times at 3 T, and the equations of three pulse sequences.

Times are in milliseconds, concentrations in mmol/l, proton density relative to water.
"""

from typing import NamedTuple

import numpy as np


class Tissue(NamedTuple):
    """t1, t2: ms at 3 T; pd: proton density, 0..1; agent: mmol/l of gadolinium that it takes up in a contrast study."""

    t1: float
    t2: float
    pd: float
    agent: float = 0.0


# Within the ranges that Bojorquez et al. (Magn Reson Imaging 35, 2017) and Stanisz et al. (Magn Reson Med 54, 2005)
# report at 3 T. Fat: T2 as an echo train sees it. Blood flows out of the slice between pulses, hence its low density.
TISSUES = {
    "skin": Tissue(1000, 35, 0.60, 0.15),
    "fat": Tissue(380, 90, 0.50),
    "muscle": Tissue(1400, 40, 0.75, 0.10),
    "mucosa": Tissue(1500, 90, 0.80, 0.30),
    "air": Tissue(1000, 10, 0.0),
    "bone": Tissue(1000, 1, 0.15),
    "marrow": Tissue(420, 70, 0.45, 0.05),
    "eye": Tissue(3800, 900, 0.98),
    "csf": Tissue(4300, 1800, 1.0),
    "grey": Tissue(1400, 95, 0.83),
    "white": Tissue(870, 72, 0.71),
    "nuclei": Tissue(1200, 76, 0.80),
    "cerebellum": Tissue(1280, 88, 0.80),
    "stem": Tissue(980, 75, 0.73),
    "choroid": Tissue(2200, 200, 0.90, 0.30),
    "blood": Tissue(1800, 60, 0.45, 0.80),
    "oedema": Tissue(1500, 165, 0.86),
    "tumour": Tissue(1750, 150, 0.88, 0.04),
    "rim": Tissue(1400, 110, 0.86, 0.38),
    "necrosis": Tissue(2600, 380, 0.94, 0.03),
}
R1, R2 = 4.5, 5.5  # relaxivities of a gadolinium agent at 3 T, l/(mmol s)


def with_agent(tissue: Tissue) -> Tissue:
    """The tissue after the contrast agent: 1/T = 1/T0 + r * concentration for T1 and T2."""
    t1 = 1 / (1 / tissue.t1 + R1 * tissue.agent / 1000)
    t2 = 1 / (1 / tissue.t2 + R2 * tissue.agent / 1000)
    return Tissue(t1, t2, tissue.pd)


def spin_echo(t: Tissue, *, tr: float, te: float) -> float:
    """Spin echo: PD (1 - exp(-(TR - TE)/T1)) exp(-TE/T2)."""
    return t.pd * (1 - np.exp(-(tr - te) / t.t1)) * np.exp(-te / t.t2)


def inversion_spin_echo(t: Tissue, *, tr: float, ti: float, te: float) -> float:
    """Inversion-recovery spin echo, magnitude: PD |1 - 2 exp(-TI/T1) + exp(-(TR - TE)/T1)| exp(-TE/T2)."""
    return t.pd * abs(1 - 2 * np.exp(-ti / t.t1) + np.exp(-(tr - te) / t.t1)) * np.exp(-te / t.t2)


def mprage(t: Tissue, *, tr: float, ti: float, echo_spacing: float, pulses: int, angle: float) -> float:
    """Magnitude at the centre of k-space of an MPRAGE sequence in its steady state.

    Between pulses the longitudinal magnetisation m (of equilibrium 1) follows affine maps m -> a m + b: the inversion
    (-1, 0), free recovery for a time d (e, 1 - e) with e = exp(-d/T1), and an excitation, scaling m by cos(angle).
    The steady state is the fixed point of the maps of one cycle, composed (as in Wang et al., PLoS ONE 9, 2014).
    tr: from inversion to inversion; ti: to the central pulse; echo_spacing: between pulses; angle: degrees.
    """
    cosine = np.cos(np.radians(angle))

    def recovery(duration: float) -> tuple[float, float]:
        e = float(np.exp(-duration / t.t1))
        return e, 1 - e

    def train(n: int) -> tuple[float, float]:
        e, rest = recovery(echo_spacing)
        a = (cosine * e) ** n
        return a, rest * (1 - a) / (1 - cosine * e)

    before = recovery(ti - pulses // 2 * echo_spacing)
    first, second = train(pulses // 2), train(pulses - pulses // 2)
    after = recovery(tr - ti - (pulses - pulses // 2) * echo_spacing)
    to_centre = _compose((-1.0, 0.0), before, first)
    a, b = _compose(to_centre, second, after)
    steady = b / (1 - a)
    return t.pd * np.sin(np.radians(angle)) * abs(to_centre[0] * steady + to_centre[1])


def _compose(*maps: tuple[float, float]) -> tuple[float, float]:
    a, b = 1.0, 0.0
    for slope, offset in maps:
        a, b = slope * a, slope * b + offset
    return a, b


def _suppressed(name: str, t: Tissue) -> Tissue:
    """The tissue under spectral fat saturation, which leaves a fraction of the fat's signal."""
    return t._replace(pd=0.35 * t.pd) if name in ("fat", "marrow") else t


def signals(tissues: dict[str, Tissue]) -> dict[str, dict[str, float]]:
    """Signal of each tissue, {contrast: {tissue: value}}, for t1n, t1c, t2w and t2f (FLAIR); 1 is equilibrium."""

    def t1(t: Tissue) -> float:
        return mprage(t, tr=2000, ti=900, echo_spacing=7, pulses=128, angle=9)

    return {
        "t1n": {name: t1(t) for name, t in tissues.items()},
        "t1c": {name: t1(with_agent(t)) for name, t in tissues.items()},
        "t2w": {name: spin_echo(_suppressed(name, t), tr=4500, te=95) for name, t in tissues.items()},
        "t2f": {
            name: inversion_spin_echo(_suppressed(name, t), tr=9000, ti=2480, te=105) for name, t in tissues.items()
        },
    }
