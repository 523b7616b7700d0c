"""What each metric is, in words and numbers, for the judge, the tables, the page and the trackers. No torch, no numpy.

A metric of features is a line here and a function in `gan.metrics.scores`. A column is called by the metric and its
extractor (``fd_indomain``), by the metric and a number (``area_1``), or by the metric alone (``ms_ssim``).
"""

from dataclasses import dataclass
from math import inf

TRAIN = "train_"  # before the name of a metric: as published, against the training images
COPIES_WIN = "a generator that copies its training set has the best value"
PIXELS = "pixels"  # what a metric of the images themselves has for an extractor


@dataclass(frozen=True)
class Fact:
    """A metric.

    name, label: in files, for people; sentence: what it says; better: -1 if lower values are, 1 if higher ones are, 0
    if neither can be said; low, high: the range of its values; floor: None if it comes from unseen real images instead
    of the generated ones (of a translation: from the family ``lookup``), else the number itself; curve: whether every
    snapshot gets it; share: what it is a share of, ``real`` or ``fake`` images; sized: whether its value depends on the
    number of generated images, so that the difference to the floor is taken with as many as the floor has; published:
    whether it is computed, under its own name, as published: with the extractor of its publication alone, from all
    pairs of images, without a floor; training: whether it compares with the training images, each image for itself, so
    that it says nothing of new patients (`gan.metrics.as_published`).
    """

    name: str
    label: str
    sentence: str
    better: int
    low: float
    high: float
    floor: float | None = None
    curve: bool = False
    share: str | None = None
    sized: bool = False
    published: bool = False
    training: bool = False


_REGIONS = {
    "fg": "in the head or body, which is where a real image is above 10 % of the scale",
    "tumour": "within the mask, on the images that have it",
    "whole": "in the whole frame; padding flatters it",
}


def _translation(name: str, label: str, says: str, better: int, low: float, high: float, curve: bool) -> list[Fact]:
    """A measure of translated images next to the real ones, by region (`gan.metrics.paired`)."""
    return [
        Fact(f"{name}_{region}", f"{label}-{region}", f"{says}, {where}", better, low, high, curve=curve and not place)
        for place, (region, where) in enumerate(_REGIONS.items())
    ]


_MAE = _translation("mae", "MAE", "mean absolute error on the scale 0..255", -1, 0, 255, True)
_SSIM = _translation(
    *("ssim", "SSIM", "structural similarity, data range 255 (Wang et al. 2004), which hardly sees blur"),
    *(1, -1, 1, True),
)
_PSNR = _translation(
    *("psnr", "PSNR", "peak signal-to-noise ratio in dB, peak 255, of each patient's pooled voxels"),
    *(1, 0, 100, False),
)
_NMSE = _translation(
    *("nmse", "NMSE", "squared error over squared signal of each patient's pooled voxels"),
    *(-1, 0, inf, False),
)
_PCC = _translation("pcc", "PCC", "Pearson's correlation, which does not see a wrong brightness", 1, -1, 1, False)


def _as_published(name: str, label: str, says: str, better: int, low: float, high: float, own: bool = False) -> Fact:
    """A metric against the training images; own: of the extractor of its publication alone."""
    sentence = f"{says}, of all generated and all training images, each for itself; {COPIES_WIN}"
    title = f"Train-{label}"
    return Fact(TRAIN + name, title, sentence, better, low, high, curve=True, published=own, training=True)


# The order is that of preference: of the metrics that a table has, the first one leads it.
FACTS = {
    fact.name: fact
    for fact in (
        _MAE[0],
        _SSIM[0],
        Fact(
            *("kd", "KD"),
            "kernel distance: squared maximum mean discrepancy with a cubic polynomial kernel (Bińkowski et al. 2018), "
            "over pairs of images of different patients; 0 for a generator of new patients, whatever their number",
            *(-1, -inf, inf),
            curve=True,
        ),
        Fact(
            *("fd", "FD"),
            "Fréchet distance as in FID, on features of another extractor; not comparable with FID; biased upwards by "
            "few images",
            *(-1, 0, inf),
            curve=True,
            sized=True,
        ),
        Fact(
            *("kid", "KID"),
            "squared maximum mean discrepancy with a cubic polynomial kernel over all pairs of images, as published "
            "(Bińkowski et al. 2018); pairs of slices of one patient raise it; descriptive, it decides nothing",
            *(-1, -inf, inf),
            curve=True,
            published=True,
        ),
        Fact(
            *("fid", "FID"),
            "Fréchet distance between Gaussians fitted to the features of real and of generated images, as published "
            "(Heusel et al. 2017); biased upwards when there are few images; descriptive, it decides nothing",
            *(-1, 0, inf),
            curve=True,
            published=True,
        ),
        Fact(
            *("precision", "Precision"),
            "part of the generated images within the manifold of the real ones (Kynkäänniemi et al. 2019), whose balls "
            "reach to other patients",
            *(1, 0, 1),
            curve=True,
            share="fake",
        ),
        Fact(
            *("recall", "Recall"),
            "part of the real images within the manifold of the generated ones (Kynkäänniemi et al. 2019)",
            *(1, 0, 1),
            curve=True,
            share="real",
        ),
        Fact(
            *("density", "Density"),
            "in how many patients' neighbourhoods a generated image lies (Naeem et al. 2020)",
            *(1, 0, inf),
        ),
        Fact(
            *("coverage", "Coverage"),
            "part of the real neighbourhoods that hold a generated image (Naeem et al. 2020)",
            *(1, 0, 1),
            share="real",
            sized=True,
        ),
        Fact(
            *("copies", "Copies"),
            "part of the generated images that are copies of one training patient: nearer to that patient than to any "
            "other one by a ratio that 1 % of real images have, less that 1 %; copies in disguise may be missed, see "
            "the power of the search; a screen and no proof",
            *(-1, 0, 1),
            floor=0.0,
        ),
        Fact(
            *("vendi", "Vendi"),
            "effective number of different images of at most 500 (Friedman and Dieng 2023), next to that of as many "
            "real ones: below it the generator makes few different images, above it is no merit",
            *(0, 1, inf),
            sized=True,
        ),
        Fact(
            *("ms_ssim", "MS-SSIM"),
            "how alike two generated images are in the mean (Odena et al. 2017); the floor is that of training images "
            "of two patients: clearly above it the generator makes few different images, below it is no merit",
            *(0, 0, 1),
        ),
        Fact(
            *("spectrum", "Spectrum"),
            "mean over bands of spatial frequency of |ln(power of generated / power of training images)|: 0.1 is 10 % "
            "too much or too little; blur, noise, grids of upsampling raise it; the floor is that of validation images",
            *(-1, 0, inf),
        ),
        Fact(
            *("histogram", "Histogram"),
            "1-Wasserstein distance between the grey values of generated and of training images, as a fraction of the "
            "grey range; wrong brightness and contrast raise it; the floor is that of validation images",
            *(-1, 0, 1),
        ),
        Fact(
            *("noise", "Noise"),
            "standard deviation of the grey values (0 to 255) in the two quietest corners of an image; the floor is "
            "that of validation images: below it the background is too smooth",
            *(0, 0, 255),
        ),
        Fact(
            *("asymmetry", "Asymmetry"),
            "how unlike an image is its mirror image, left to right, from 0 to 1; the floor is that of validation "
            "images: below it the two halves are too alike",
            *(0, 0, 1),
        ),
        Fact(
            *("volume", "Volume"),
            "1-Wasserstein distance in ml between generated and training volumes, as distributions over them, of the "
            "body (above a tenth of the grey range), of its dark, middle and bright tissue by fixed limits, or of a "
            "label of the mask; the floor is that of validation volumes; one head again and again is far from them",
            *(-1, 0, inf),
        ),
        Fact(
            *("brightness", "Brightness"),
            "1-Wasserstein distance between the mean grey values (0 to 255) of the bodies of generated and of training "
            "volumes; the floor is that of validation volumes",
            *(-1, 0, 255),
        ),
        Fact(
            *("grey_width", "Grey width"),
            "as Brightness, of the standard deviations of the grey values within the body",
            *(-1, 0, 255),
        ),
        Fact(
            *("labelled", "Labelled"),
            "part of the generated masks that have a label at all; the floor is that of training masks",
            *(0, 0, 1),
            share="fake",
        ),
        Fact(
            *("area", "Area"),
            "mean area of a label of the mask, in % of the image; the floor is that of training masks",
            *(0, 0, 100),
        ),
        Fact(
            *("flicker", "Flicker"),
            "mean difference of neighbouring slices of a translated volume over that of the real one; 1 is as smooth "
            "as the real one, more shows as stripes in the other planes",
            *(0, 0, inf),
            floor=1.0,
        ),
        Fact(
            *("sharpness", "Sharpness"),
            "power of the Laplacian of the translated images over that of the real ones, in the head or body; 1 is as "
            "sharp as the real ones, blur is below it, noise above",
            *(0, 0, inf),
            floor=1.0,
        ),
        *_PSNR,
        *_NMSE,
        *_PCC,
        *_MAE[1:],
        *_SSIM[1:],
        Fact(
            *("outside", "Outside"),
            "mean of the translated images where the real ones are background, 0..255; it should be 0",
            *(-1, 0, 255),
        ),
        Fact(
            *("own_content", "Own content"),
            "of images that were made of a training image each: part to which no other training image is nearer, so "
            "that they show its patient",
            *(0, 0, 1),
            share="fake",
        ),
        Fact(
            *("content_ssim", "SSIM to content"),
            "structural similarity of the whole image to the one that it was made of, data range 255; it is high by "
            "construction and no merit",
            *(0, -1, 1),
        ),
        Fact(
            *("content_mae", "MAE to content"),
            "mean absolute difference of the whole image to the one that it was made of, 0..255; low by construction, "
            "no merit",
            *(0, 0, 255),
        ),
        _as_published("fid", "FID", "Fréchet distance (Heusel et al. 2017)", -1, 0, inf, own=True),
        _as_published("kid", "KID", "kernel distance (Bińkowski et al. 2018)", -1, -inf, inf, own=True),
        _as_published("fd", "FD", "Fréchet distance as in FID, on features of another extractor", -1, 0, inf),
        _as_published("kd", "KD", "kernel distance as in KID, on features of another extractor", -1, -inf, inf),
        _as_published("precision", "Precision", "precision (Kynkäänniemi et al. 2019)", 1, 0, 1),
        _as_published("recall", "Recall", "recall (Kynkäänniemi et al. 2019)", 1, 0, 1),
    )
}


# Whose floor is what the family lookup reaches.
PAIRED = frozenset(one.name for one in (*_MAE, *_SSIM, *_PSNR, *_NMSE, *_PCC)) | {"outside"}


def floor_of(column: str) -> str:
    """What the floor of a column is, in words."""
    known = fact(column)
    return "lookup, a table of grey levels" if known and known.name in PAIRED else "real images"


def fact(column: str) -> Fact | None:
    """The metric of a column; None if it is not known, as in files of another version."""
    if column in FACTS:
        return FACTS[column]
    return next((known for name, known in FACTS.items() if column.startswith(f"{name}_")), None)


def direction(column: str) -> int:
    """-1 when a lower value is better, 1 when a higher one is, 0 when neither can be said."""
    known = fact(column)
    return known.better if known else 0


def title(column: str) -> str:
    """A column's name for people, which keeps its extractor: ``fd_indomain`` -> ``FD-indomain``."""
    known = fact(column)
    if known is None:
        return column.replace("_", "-").capitalize()
    return known.label + column.removeprefix(known.name).replace("_", "-")


def column(name: str, extractor: str) -> str:
    """What the metric ``name`` is called with an extractor; a published one has its own name."""
    return name if FACTS[name].published else f"{name}_{extractor}"


def published(column: str) -> bool:
    """Whether a column is called as published, by the metric alone: ``fid``, ``kid``; not those of training images."""
    return column in FACTS and FACTS[column].published and not FACTS[column].training


def training(column: str) -> bool:
    """Whether a column compares with the training images: for reading alone, whatever leads."""
    known = fact(column)
    return known is not None and known.training


def rank(column: str) -> int:
    """Place of a column's metric in the order of preference; unknown ones come last."""
    known = fact(column)
    return list(FACTS.values()).index(known) if known else len(FACTS)
