"""What radiomic features are called, and what more or less of each looks like. No numpy."""

from typing import NamedTuple

DISTANCES = {"pairs1": "of neighbouring pixels", "pairs2": "of pixels 2 apart"}


class Words(NamedTuple):
    """label: the feature; more, less: what an image with more or less of it is, in a comparison; leads: whether it is
    the one that a sentence names for its property."""

    label: str
    more: str
    less: str
    leads: bool = False


_PAIRS = {
    "maximum": Words("most frequent pair", "more uniform", "less uniform"),
    "energy": Words("energy", "more uniform", "less uniform"),
    "entropy": Words("entropy", "more heterogeneous", "more homogeneous"),
    "contrast": Words("contrast", "coarser in local contrast", "softer in local contrast"),
    "dissimilarity": Words("dissimilarity", "coarser in local contrast", "softer in local contrast"),
    "homogeneity": Words("homogeneity", "more homogeneous", "more heterogeneous"),
    "difference_entropy": Words("entropy of differences", "more heterogeneous", "more homogeneous"),
    "correlation": Words("correlation", "more alike from pixel to pixel", "less alike from pixel to pixel"),
    "tendency": Words("cluster tendency", "patchier", "less patchy"),
    "shade": Words("cluster shade", "patchier in bright tissue", "patchier in dark tissue"),
    "prominence": Words("cluster prominence", "more extreme in patches", "less extreme in patches"),
    "information": Words("information correlation", "more random in texture", "more regular in texture"),
}
_SPREAD = ("higher in contrast", "lower in contrast")
_BRIGHT = ("brighter", "darker")
_EDGES = ("sharper", "smoother")
_DETAIL = {band: "coarse" if band <= 3 else "medium" if band <= 6 else "fine" for band in range(1, 9)}

WORDS = {
    "grey_mean": Words("mean grey value", *_BRIGHT, leads=True),
    "grey_variance": Words("variance of grey values", *_SPREAD),
    "grey_skewness": Words("skewness of grey values", "longer in the bright tail", "longer in the dark tail"),
    "grey_kurtosis": Words("kurtosis of grey values", "richer in extreme grey values", "poorer in extreme grey values"),
    "grey_median": Words("median grey value", *_BRIGHT),
    "grey_minimum": Words("lowest grey value", "brighter in the darkest pixel", "darker in the darkest pixel"),
    "grey_p10": Words("10th percentile of grey values", "brighter in dark tissue", "darker in dark tissue"),
    "grey_p90": Words("90th percentile of grey values", "brighter in bright tissue", "darker in bright tissue"),
    "grey_maximum": Words("highest grey value", "brighter in the brightest pixel", "darker in the brightest pixel"),
    "grey_iqr": Words("interquartile range of grey values", *_SPREAD, leads=True),
    "grey_range": Words("range of grey values", *_SPREAD),
    "grey_mean_deviation": Words("mean absolute deviation of grey values", *_SPREAD),
    "grey_robust_deviation": Words("robust mean absolute deviation of grey values", *_SPREAD),
    "grey_median_deviation": Words("deviation from the median grey value", *_SPREAD),
    "grey_variation": Words("coefficient of variation of grey values", *_SPREAD),
    "grey_rms": Words("root mean square of grey values", *_BRIGHT),
    "grey_entropy": Words("entropy of grey values", "more varied in grey values", "less varied in grey values"),
    "grey_uniformity": Words("uniformity of grey values", "less varied in grey values", "more varied in grey values"),
    **{
        f"{pairs}_{name}": Words(f"{of.label} {apart}", of.more, of.less, leads=(pairs, name) == ("pairs1", "entropy"))
        for pairs, apart in DISTANCES.items()
        for name, of in _PAIRS.items()
    },
    "runs_short": Words("short runs", "finer in texture", "coarser in texture"),
    "runs_long": Words("long runs", "coarser in texture", "finer in texture"),
    "runs_levels": Words("non-uniformity of grey levels of runs", "less varied in texture", "more varied in texture"),
    "runs_lengths": Words("non-uniformity of lengths of runs", "finer in texture", "coarser in texture"),
    "runs_percentage": Words("run percentage", "finer in texture", "coarser in texture"),
    "tones_fineness": Words("fineness (of grey tones)", "finer in texture", "coarser in texture"),
    "tones_contrast": Words("contrast of grey tones", "higher in local contrast", "lower in local contrast"),
    "tones_busyness": Words("busyness", "busier", "calmer"),
    "tones_complexity": Words("complexity", "more complex in texture", "simpler in texture"),
    "tones_strength": Words("strength of texture", "clearer in texture", "vaguer in texture"),
    "gradient_mean": Words("mean gradient", *_EDGES, leads=True),
    "gradient_deviation": Words("standard deviation of gradients", *_EDGES),
    "gradient_skewness": Words("skewness of gradients", "richer in single sharp edges", "poorer in single sharp edges"),
    "gradient_kurtosis": Words("kurtosis of gradients", "richer in single sharp edges", "poorer in single sharp edges"),
    "shape_area": Words("area", "larger", "smaller", leads=True),
    "shape_elongation": Words("minor over major axis", "rounder", "longer", leads=True),
    **{
        f"spectrum_{band}": Words(
            f"power of band {band} of 8", f"richer in {size} detail", f"poorer in {size} detail", leads=band == 8
        )
        for band, size in _DETAIL.items()
    },
    "outside_mean": Words("mean of the background", "brighter in the background", "darker in the background"),
    "outside_deviation": Words(
        "standard deviation of the background", "noisier in the background", "cleaner in the background", leads=True
    ),
}
