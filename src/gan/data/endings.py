"""Which files hold a volume or a picture, by the ending of their name in any case, and unsupported formats."""

NIFTI = (".nii", ".nii.gz")
MGH = (".mgh", ".mgz")
ITK = (".mha", ".mhd", ".nrrd", ".nhdr")
PAIR = (".img",)  # with its header .hdr
PARTED = (*PAIR, ".mhd", ".nhdr")  # whose voxels or header are in another file
VOLUMES = (*NIFTI, *MGH, *ITK, *PAIR)
DICOM = (".dcm", ".ima", ".dicom")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
UNREAD = {
    ".mnc": "mnc2nii",
    ".head": "3dAFNItoNIFTI",
    ".brik": "3dAFNItoNIFTI",
    ".par": "dcm2niix",
    ".rec": "dcm2niix",
    ".img.gz": "gunzip",
    ".nii.bz2": "bunzip2",
    ".nii.zst": "unzstd",
    ".nii.xz": "unxz",
    ".mat": "nibabel in Python",
    ".npy": "nibabel in Python",
    ".h5": "nibabel in Python",
}


def is_volume(name: str) -> bool:
    """Whether the ending of a file name, in any case, is of a format that `read_volume` reads."""
    return name.lower().endswith(VOLUMES)


def unread(names: list[str]) -> str:
    """The remedy for unsupported formats among ``names``; empty if there are none."""
    for name in names:
        for ending, tool in UNREAD.items():
            if name.lower().endswith(ending):
                return f"{ending} is not read, convert it to NIfTI, e.g. with {tool}"
    return ""


def cut_ending(name: str) -> tuple[str, str]:
    """``name`` cut before the ending of a format: ``("{subject}", ".nii.gz")``; the ending is empty if it has none."""
    for ending in sorted((*VOLUMES, *DICOM, *PICTURES), key=len, reverse=True):
        if name.lower().endswith(ending):
            return name[: -len(ending)], name[-len(ending) :]
    return name, ""
