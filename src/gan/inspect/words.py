"""Words in the names of files and folders that say what a file is: contrasts, masks, sessions."""

import re
from collections.abc import Iterable

_CONTRAST = re.compile(
    r"t1(w|n|c|ce|gd|post|pre|gre|se|fl3d|mprage)?|t2(w|f|star|flair|s)?|t2\*|(t1|t2)?(flair|mprage|mpr|space|tse|fse)"
    r"|ct1|mp2?rage|spgr|bravo|inv[12]|uni(t1)?|pd(w|fs|t2)?|mra|tof|swi|swan|qsm|dwi|adc|b0|b1000|trace|asl|cbf|fa|md|dti"
    r"|bold|inphase|outphase|opp|dixon|water|fat|cine|lge|magnitude|phase|ct|pet",
    re.IGNORECASE,
)
_GENERIC = re.compile(r"images?(tr|ts)?|imgs?|volumes?|scans?|anat|brain|orig|norm|mri?", re.IGNORECASE)
_MASK = re.compile(
    r"seg|segs|segmentations?|labels?(tr|ts)?|masks?|roi|rois|lesions?|tumou?rs?|dseg|aseg|aparc|gt|gold|goldstandard"
    r"|ground|groundtruth|truth|manual|wmh|parc|parcellation|annotations?|consensus",
    re.IGNORECASE,
)
_SESSION = re.compile(
    r"(?:ses|session|visit|tp|timepoint|time|exam|wave|year|month|week|day|run|acq|v|m|y)-?\d+"
    r"|baseline|bl|follow-?up\d*|fu\d*|pre|post|pre-?op|post-?op",
    re.IGNORECASE,
)
_DATE = re.compile(r"\d+|[A-Za-z]")  # numbers, and single letters such as those of twins
_WEIGHTING = re.compile(r"t1(w|c|ce|gd)?|t2(w|f|star)?|flair|pd(w|fs)?|dwi|adc|swi|tof|mra|qsm|asl|bold", re.IGNORECASE)
_SEQUENCE = re.compile(r"mp2?rage|mpr|space|tse|fse|spgr|bravo|dixon|vibe|haste|ciss|fiesta|gre", re.IGNORECASE)
CHANNEL = re.compile(r"00\d\d")  # of nnU-Net


def is_contrast(word: str) -> bool:
    """Whether ``word`` names a contrast, a mask, or images as such."""
    return is_telling(word) or bool(_GENERIC.fullmatch(word))


def is_telling(word: str) -> bool:
    """Whether ``word`` names a contrast or a mask."""
    return bool(_CONTRAST.fullmatch(word) or CHANNEL.fullmatch(word) or is_mask(word))


def is_mask(word: str) -> bool:
    """Whether ``word`` names label volumes."""
    return bool(_MASK.fullmatch(word))


def is_session(word: str) -> bool:
    """Whether ``word`` names one of several scans of a subject."""
    return bool(_SESSION.fullmatch(word))


def may_be_session(word: str) -> bool:
    """Whether ``word``, where it differs between files of a subject, names a scan: a session, a date, a letter."""
    return is_session(word) or (bool(_DATE.fullmatch(word)) and not CHANNEL.fullmatch(word))


def described(words: Iterable[str]) -> str:
    """The word among those of a series description that names a contrast: a weighting, else a sequence; empty without
    one. Other words, which may be names of people, are not looked at."""
    words = list(words)
    for known in (_WEIGHTING, _SEQUENCE):
        for word in words:
            if known.fullmatch(word):
                return word
    return ""
