"""A head made of formulas: signed distances to its parts, and from them the tissue fractions of every voxel.

All lengths are millimetres, x to the right, y to the front, z upwards, with the origin in the middle of the cerebrum.
Sizes are those of an adult (rounded by hand, after anatomy textbooks); each head varies them.
"""

from typing import NamedTuple

import numpy as np
from scipy.ndimage import map_coordinates

from gan.data.phantom_shapes import Grid, Triple, Volume, cut, ellipsoid, join, smooth_field, tube

CEREBRUM = (65.0, 77.0, 57.0)  # semi-axes
Layers = list[tuple[str, Volume]]  # painted in order, each over those before it


class Tumour(NamedTuple):
    """centre and radius in mm; high: high grade, i.e. a dark core in an enhancing rim and much oedema."""

    centre: Triple
    radius: float
    high: bool

    @staticmethod
    def draw(rng: np.random.Generator, high: bool) -> "Tumour":
        """A tumour of 9 to 19 mm radius in the white matter of one hemisphere, off the midline and below the cortex."""
        angle, height = rng.uniform(0, 2 * np.pi), rng.uniform(2, 28)
        reach = np.sqrt(1 - (height / 52) ** 2)
        x = rng.choice([-1, 1]) * (31 * reach + rng.normal(0, 3))
        y = 48 * reach * np.cos(angle) - 4
        radius = rng.uniform(11, 19) if high else rng.uniform(9, 16)
        return Tumour((float(x * (1 - 0.25 * abs(np.cos(angle)))), float(y), float(height)), float(radius), high)


class Anatomy(NamedTuple):
    """The parameters that vary between heads. Ratios are about 1; lengths in mm."""

    scale: Triple
    tilt: Triple  # degrees about x, y, z
    shift: Triple
    ventricles: float
    gap: float  # between brain and skull
    cortex: float  # thickness
    sulci: float  # ratio of depth
    skull: float
    scalp: float

    @staticmethod
    def draw(rng: np.random.Generator) -> "Anatomy":
        age = rng.uniform()  # ventricles, sulci and the gap widen together, as with age
        return Anatomy(
            scale=tuple(rng.normal(1, 0.025, 3).clip(0.94, 1.05)),
            tilt=tuple(rng.normal(0, (4, 2, 2.5))),
            shift=tuple(rng.normal(0, (1.5, 1.5, 1.5))),
            ventricles=0.75 + 0.6 * age + rng.normal(0, 0.06),
            gap=1.2 + 1.4 * age,
            cortex=rng.normal(2.9, 0.15),
            sulci=rng.normal(1, 0.1) + 0.15 * age,
            skull=rng.normal(6, 0.6),
            scalp=max(4.0, rng.normal(5.5, 0.8)),
        )


def place(grid: Grid, anatomy: Anatomy, tumour: Tumour | None, rng: np.random.Generator) -> list[Volume]:
    """Coordinates of every voxel in the average head: tilted, scaled, gently warped, pushed away by the tumour."""
    x, y, z = np.meshgrid(*(axis.astype(np.float32) for axis in grid.axes), indexing="ij", sparse=True)
    a, b, c = np.radians(anatomy.tilt)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    matrix = (np.diag(1 / np.array(anatomy.scale)) @ about_x @ about_y @ about_z).astype(np.float32)
    offset = matrix @ np.array(anatomy.shift, np.float32)
    points = [m[0] * x + m[1] * y + m[2] * z - o for m, o in zip(matrix, offset, strict=True)]
    points = [p + smooth_field(rng, grid.axes, 45) * np.float32(1.6) for p in points]
    if tumour is not None:
        offsets = [p - np.float32(c) for p, c in zip(points, tumour.centre, strict=True)]
        square = sum(o * o for o in offsets)
        pull = np.float32(0.45) * np.exp(-square / np.float32((1.7 * tumour.radius) ** 2))
        points = [p - o * pull for p, o in zip(points, offsets, strict=True)]
    return points


def tissue_fractions(
    grid: Grid, anatomy: Anatomy, tumour: Tumour | None, rng: np.random.Generator
) -> dict[str, Volume]:
    """Fraction of each tissue in every voxel, 0..1; the rest to 1 is air around the head."""
    points = place(grid, anatomy, tumour, rng)
    brain, cerebellum, stem = _brain(points)
    gap = np.float32(anatomy.gap) + smooth_field(rng, grid.axes, 35) * np.float32(0.6)
    cavity = join(join(brain, cerebellum, 6), stem, 8) + gap
    layers = _outer_layers(grid, points, cavity, anatomy, rng)
    layers += [("csf", grid.fraction(cavity))]
    layers += _sinuses(grid, points, cavity)

    pial = _pial_distance(grid, points, brain, anatomy, rng)
    grey, white = grid.fraction(pial), grid.fraction(pial - np.float32(anatomy.cortex))
    layers += [("grey", grey), ("white", white)]
    layers += _hindbrain(grid, points, cerebellum, stem, rng)
    layers += _deep_structures(grid, points, pial, anatomy)
    if tumour is not None:
        layers += _lesion(grid, points, tumour, brain, grey, white, rng)
    return _flatten(layers)


def _flatten(layers: Layers) -> dict[str, Volume]:
    """The visible fraction of each layer below the later ones."""
    fractions: dict[str, Volume] = {}
    remaining = np.ones_like(layers[0][1])
    for name, cover in reversed(layers):
        visible = cover * remaining
        remaining -= visible
        fractions[name] = fractions[name] + visible if name in fractions else visible
    return fractions


def _brain(points: list[Volume]) -> tuple[Volume, Volume, Volume]:
    """Distances to the hulls of cerebrum, cerebellum and brain stem."""
    x, y, z = points
    side = np.abs(x)
    ball = ellipsoid(points, (0, 0, 0), CEREBRUM)
    # The base: in front the floor of the frontal lobes, vaulted over the orbits; behind the tentorium.
    roof = 7 * np.exp(-(((side - 27) / 14) ** 2)) * np.clip(y / 30, 0, 1)
    base = z - roof + np.where(y > 0, 26 - np.float32(0.16) * y, 26 + np.float32(0.05) * y)
    temporal = ellipsoid((side, y, z), (41, 4, -25), (20, 41, 20))
    cerebrum = join(cut(ball, base, 8), temporal, 6)
    cerebellum = join(
        ellipsoid((side, y, z), (21, -42, -42), (30, 27, 20)), ellipsoid(points, (0, -46, -41), (12, 23, 18)), 5
    )
    stem = tube(points, [(0, -10, -8, 13), (0, -9, -24, 15), (0, -15, -40, 11), (0, -22, -100, 8)])
    return cerebrum, cerebellum, stem


def _outer_layers(
    grid: Grid, points: list[Volume], cavity: Volume, anatomy: Anatomy, rng: np.random.Generator
) -> Layers:
    """Skin, fat, muscle, the face, and bone with marrow, from outside to inside."""
    x, y, z = points
    side = np.abs(x)
    texture = smooth_field(rng, grid.axes, 9)
    thickness = np.float32(anatomy.skull) + smooth_field(rng, grid.axes, 30) * np.float32(0.9)
    skull = cavity + thickness
    face = join(ellipsoid(points, (0, 30, -62), (59, 57, 62)), ellipsoid(points, (0, 84, -52), (11, 16, 18)), 12)
    neck = cut(ellipsoid(points, (0, -18, -75), (62, 66, 300)), -z - 20, 30)
    scalp = np.float32(anatomy.scalp) + smooth_field(rng, grid.axes, 30) * np.float32(0.8)
    head = join(join(skull + scalp, face, 20), neck, 20)
    meat = grid.fraction(head - 6 + 2 * texture)
    layers: Layers = [
        ("skin", grid.fraction(head)),
        ("fat", grid.fraction(head - np.float32(1.8))),
        ("muscle", meat),
        ("fat", meat * np.clip(texture * np.float32(0.9) - np.float32(0.5), 0, 1)),
    ]
    paired = (side, y, z)
    orbit = tube(paired, [(30, 66, -36, 17), (16, 30, -34, 6)])
    eye = ellipsoid(paired, (30, 66, -36), (12, 12.5, 12))
    lens = ellipsoid(paired, (30, 75, -36), (5, 2.5, 5))
    nerve = tube(paired, [(29, 55, -36, 2.2), (16, 30, -34, 2)])
    nose = join(ellipsoid(points, (0, 60, -56), (16, 30, 18)), ellipsoid(points, (0, 36, -42), (13, 13, 9)), 6)
    antrum = ellipsoid(paired, (27, 56, -62), (13, 15, 13))
    mastoid = ellipsoid(paired, (50, -24, -46), (8, 13, 13))
    cells = np.clip(texture + np.float32(0.7), 0, 1)
    layers += [
        ("fat", grid.fraction(orbit)),
        ("muscle", grid.fraction(nerve)),
        ("eye", grid.fraction(eye)),
        ("muscle", grid.fraction(lens)),
        ("mucosa", grid.fraction(nose)),
        ("air", grid.fraction(nose - 2 + 2 * texture)),
        ("bone", grid.fraction(skull)),
        ("bone", grid.fraction(mastoid + 3)),
        ("air", grid.fraction(mastoid) * cells),
        ("air", grid.fraction(antrum)),
    ]
    diploe = thickness * np.float32(0.5) - np.float32(1.6) - np.abs(cavity + thickness * np.float32(0.5))
    layers.append(("marrow", grid.fraction(diploe) * np.clip((z + 25) / 10, np.clip(texture, 0, 1), 1)))
    return layers


def _sinuses(grid: Grid, points: list[Volume], cavity: Volume) -> Layers:
    """Venous blood: the sagittal sinus along the midline under the vault, the transverse ones above the cerebellum."""
    x, y, z = points
    sagittal = np.minimum(3 - np.abs(x), np.float32(3.5) - cavity) + np.minimum(0, (z - np.float32(0.3) * y))
    rim = np.minimum(np.float32(4) - cavity, 3 - np.abs(z + 17))
    transverse = np.minimum(rim, -y - 35)
    return [("blood", grid.fraction(np.maximum(sagittal, transverse)) * grid.fraction(cavity))]


def _pial_distance(
    grid: Grid, points: list[Volume], hull: Volume, anatomy: Anatomy, rng: np.random.Generator
) -> Volume:
    """Distance into the cerebrum from its folded surface: the hull, the great fissures and the walls of the sulci.

    A sulcus is the zero sheet of a random field that hardly varies along the radius, so that the sheets stand upright
    on the hull; field / |gradient| is the distance to it. Each ends at its own depth.
    """
    x, y, z = points
    side = np.abs(x)
    fissure = side - np.float32(0.6) + np.maximum(0, 22 - np.float32(0.012) * y * y - z)
    sylvian = np.abs(z + 9 + np.float32(0.28) * y) - np.float32(0.7)
    sylvian += np.maximum(0, 40 - side) + np.maximum(0, np.abs(y + 2) - 30)
    surface = np.minimum(hull, np.minimum(fissure, sylvian))

    radius = np.sqrt(sum((p / np.float32(a)) ** 2 for p, a in zip(points, CEREBRUM, strict=True)))
    flatten = np.float32(0.75) / np.maximum(radius, np.float32(0.2)) + np.float32(0.25)
    wander = [p + 3 * smooth_field(rng, grid.axes, 14) for p in points]
    lattice = [np.arange(-1.25 * a, 1.25 * a + 2, 2) for a in CEREBRUM]
    pattern = smooth_field(rng, lattice, 7.5)
    where = [(p * flatten - np.float32(axis[0])) / 2 for p, axis in zip(wander, lattice, strict=True)]
    sheet = map_coordinates(pattern, where, order=1, mode="nearest", output=np.float32)
    gradient = np.sqrt(sum(g * g for g in np.gradient(sheet, np.float32(grid.spacing))))
    distance = np.abs(sheet) / np.maximum(gradient, np.float32(0.06))

    depth = np.float32(anatomy.sulci) * (15 + 5 * smooth_field(rng, grid.axes, 22))
    opening = np.float32(0.3 * anatomy.gap - 0.2)
    sulcus = distance - opening + np.maximum(0, surface - depth) + 60 * np.maximum(0, np.float32(0.6) - radius)
    return np.minimum(surface, sulcus)


def _deep_structures(grid: Grid, points: list[Volume], pial: Volume, anatomy: Anatomy) -> Layers:
    """Nuclei of grey matter, the ventricles and their choroid plexus."""
    x, y, z = points
    paired = (np.abs(x), y, z)
    size = anatomy.ventricles
    putamen = ellipsoid(paired, (26, 6, -2), (5.5, 16, 10))
    thalamus = ellipsoid(paired, (10.5, -14, 1), (8.5, 14, 9))
    caudate = tube(paired, [(14, 24, 4, 6), (17, 5, 13, 4), (21, -18, 13, 2)])
    lateral = tube(
        paired,
        [
            (6, 32, 2, 2.5 * size),
            (7.5, 18, 8, 5.5 * size),
            (9.5, -4, 14, 5.5 * size),
            (19, -30, 8, 7 * size),
            (21, -48, 2, 3.5 * size),
        ],
    )
    temporal_horn = tube(paired, [(20, -30, 6, 4.5 * size), (32, -14, -18, 2 * size), (33, 2, -23, 1.5 * size)])
    third = ellipsoid(points, (0, -6, -3), (2.2 * size, 15, 11))
    septum = np.abs(x) - np.float32(1)
    ventricles = np.maximum(np.maximum(np.minimum(lateral, septum), temporal_horn), third)
    plexus = tube(paired, [(9, -8, 12, 1.2), (18, -30, 7, 3)])
    hidden = grid.fraction(pial - 1)
    nuclei = np.maximum(np.maximum(putamen, thalamus), caudate)
    return [
        ("nuclei", grid.fraction(nuclei) * hidden),
        ("csf", grid.fraction(ventricles)),
        ("choroid", grid.fraction(np.minimum(plexus, ventricles - np.float32(0.5)))),
    ]


def _hindbrain(grid: Grid, points: list[Volume], cerebellum: Volume, stem: Volume, rng: np.random.Generator) -> Layers:
    """Cerebellum with folia around a white core, brain stem, fourth ventricle."""
    _, y, z = points
    wave = np.sin(np.float32(2 * np.pi / 7.5) * (z + np.float32(0.35) * y) + smooth_field(rng, grid.axes, 12))
    folia = grid.fraction(cerebellum - 3 - 4 * wave)
    core = grid.fraction(cerebellum - 11 - 2 * wave)
    fourth = ellipsoid(points, (0, -27, -36), (5, 5, 11))
    leaf = grid.fraction(cerebellum)
    return [
        ("cerebellum", leaf),
        ("csf", leaf * np.clip(wave - np.float32(0.75), 0, 1) * (1 - folia)),
        ("white", np.float32(0.45) * folia),
        ("white", np.float32(0.9) * core),
        ("stem", grid.fraction(stem)),
        ("csf", grid.fraction(fourth)),
    ]


def _lesion(
    grid: Grid,
    points: list[Volume],
    tumour: Tumour,
    brain: Volume,
    grey: Volume,
    white: Volume,
    rng: np.random.Generator,
) -> Layers:
    """Oedema that keeps to the white matter, and the tumour: a ring around a core, or a mass with few bright specks."""
    rough = smooth_field(rng, grid.axes, 9)
    spread = smooth_field(rng, grid.axes, 16)
    away = np.sqrt(sum((p - np.float32(c)) ** 2 for p, c in zip(points, tumour.centre, strict=True)))
    mass = np.float32(tumour.radius) - away + rough * np.float32(0.13 * tumour.radius)
    width = np.float32(11 if tumour.high else 4)
    oedema = grid.fraction((mass + width + spread * np.float32(0.45) * width) * np.float32(0.4))
    layers: Layers = [("oedema", oedema * (np.float32(0.92) * white + np.float32(0.15) * (grey - white)))]
    hemisphere = grid.fraction(np.minimum(brain, np.abs(points[0]) - 1))  # the mass closes the sulci that it meets
    body = grid.fraction(mass) * hemisphere
    if tumour.high:
        wall = np.float32(0.1 * tumour.radius + 1.4) + spread * np.float32(0.8)
        layers += [("rim", body), ("necrosis", grid.fraction(mass - np.maximum(wall, np.float32(1.2))) * hemisphere)]
    else:
        specks = np.clip(rough - np.float32(1.2), 0, 1) * grid.fraction(mass - 2)
        layers += [("tumour", body), ("rim", specks * hemisphere)]
    return layers


def labels_of(fractions: dict[str, Volume]) -> np.ndarray:
    """Label map of the lesion in BraTS numbers, uint8: 1 core that does not enhance, 2 oedema, 3 enhancing tumour."""
    nothing = np.zeros_like(fractions["csf"])
    core = fractions.get("necrosis", nothing) + fractions.get("tumour", nothing)
    parts = [core, fractions.get("oedema", nothing), fractions.get("rim", nothing)]
    other = np.maximum(1 - sum(parts), np.float32(0.5) - np.float32(1e-6))
    return np.argmax(np.stack([other, *parts]), axis=0).astype(np.uint8)
