"""Names: which part of a path is taken for the subject, the contrast, the session, the class."""

import pytest

from gan.inspect.names import named_kinds, read_names

EIGHT = range(1, 9)
CASES = {
    "one contrast": (
        [f"IXI{n:03d}-{'HH' if n % 2 else 'GUYS'}-{1200 + n}_T1.nii.gz" for n in EIGHT],
        "{subject}_{contrast}.nii.gz",
        {"T1": 8},
        "IXI001-HH-1201",
    ),
    "no contrast": ([f"scan_a{n}.nii" for n in EIGHT], "{contrast}_{subject}.nii", {"scan": 8}, "a1"),
    "nothing but a number": (
        [f"hippocampus_{n:03d}.mha" for n in EIGHT],
        "{subject}.mha",
        {"image": 8},
        "hippocampus_001",
    ),
    "contrasts, files": (
        [f"s{n}_{c}.nii.gz" for n in EIGHT for c in ("t1", "t2")],
        "{subject}_{contrast}.nii.gz",
        {"t1": 8, "t2": 8},
        "s1",
    ),
    "contrasts, folders of subjects": (
        [f"s{n}/s{n}_{c}.nii" for n in EIGHT for c in ("T1", "FLAIR", "seg")],
        "{subject}/{subject}_{contrast}.nii",
        {"T1": 8, "FLAIR": 8, "seg": 8},
        "s1",
    ),
    "contrasts, folders of contrasts": (
        [f"{c}/case_{n}.nii" for n in EIGHT for c in ("images", "labels")],
        "{contrast}/{subject}.nii",
        {"images": 8, "labels": 8},
        "case_1",
    ),
    "the contrast first": (
        [f"{c}_00{n}.nii" for n in EIGHT for c in ("T1", "FLAIR")],
        "{contrast}_{subject}.nii",
        {"T1": 8, "FLAIR": 8},
        "001",
    ),
    "a contrast that few have": (
        [*(f"ms_cs{n:02d}_T1.nii" for n in EIGHT), "ms_cs03_T2.nii"],
        "{subject}_{contrast}.nii",
        {"T1": 8, "T2": 1},
        "ms_cs01",
    ),
    "more contrasts than subjects": (
        [f"patient{n:02d}/{c}_N4_brain.nii" for n in (7, 19) for c in ("FLAIR", "T1", "T2", "GOLD_STANDARD")],
        "{subject}/{contrast}_N4_brain.nii",
        {"FLAIR": 2, "T1": 2, "T2": 2, "GOLD_STANDARD": 2},
        "patient07",
    ),
    "contrasts that differ in more than a word": (
        [f"p{n}/{c}.nii" for n in EIGHT for c in ("FLAIR_brain_to_MNI_v2_of_winsor", "GOLD_to_MNI")],
        {"FLAIR": "{subject}/FLAIR_brain_to_MNI_v2_of_winsor.nii", "GOLD": "{subject}/GOLD_to_MNI.nii"},
        {"FLAIR": 8, "GOLD": 8},
        "p1",
    ),
    "a mask next to its image": (
        [f"case{n}{end}.nii.gz" for n in EIGHT for end in ("", "_seg")],
        {"image": "{subject}.nii.gz", "seg": "{subject}_seg.nii.gz"},
        {"image": 8, "seg": 8},
        "case1",
    ),
    "channels of nnU-Net": (
        [f"imagesTr/c_{n:03d}_000{c}.nii" for n in EIGHT for c in (0, 1)] + [f"labelsTr/c_{n:03d}.nii" for n in EIGHT],
        {
            "0000": "imagesTr/{subject}_0000.nii",
            "0001": "imagesTr/{subject}_0001.nii",
            "labelsTr": "labelsTr/{subject}.nii",
        },
        {"0000": 8, "0001": 8, "labelsTr": 8},
        "c_001",
    ),
    "sites with the same numbers": (
        [f"site{s}_{n:03d}_t1.nii" for n in EIGHT for s in "AB"],
        "{subject}_{contrast}.nii",
        {"t1": 16},
        "siteA_001",
    ),
    "a space in a name": (
        [f"Patient {n}/T1 MPRAGE.nii" for n in EIGHT],
        "{subject}/{contrast} MPRAGE.nii",
        {"T1": 8},
        "Patient 1",
    ),
    "several endings": (
        [f"s{n}_t1.{'nii' if n % 2 else 'nii.gz'}" for n in EIGHT],
        "{subject}_{contrast}.*",
        {"t1": 8},
        "s1",
    ),
    "numbers of an archive": (
        [f"{n}/MR_{c}.{70 * n + len(c)}/MR_{c}.{70 * n + len(c)}.nii" for n in EIGHT for c in ("T1", "Flair", "DWI")],
        {name: f"{{subject}}/MR_{name}.*/MR_{name}.*.nii" for name in ("T1", "Flair", "DWI")},
        {"DWI": 8, "Flair": 8, "T1": 8},
        "1",
    ),
    "two schemes in one folder": (
        [f"a/s{n}_t1.nii" for n in EIGHT] + [f"b/{n}/x.nii" for n in range(1, 4)],
        {"t1": "a/{subject}_t1.nii", "b": "b/{subject}/x.nii"},
        {"t1": 8, "b": 3},
        "s1",
    ),
    "one subject": (["s1_t1.nii", "s1_t2.nii"], "{subject}_{contrast}.nii", {"t1": 1, "t2": 1}, "s1"),
    "one file": (["a.nii"], "{subject}.nii", {"image": 1}, "a"),
}


@pytest.mark.parametrize("name", CASES)
def test_subjects_and_contrasts(name):
    paths, pattern, contrasts, first = CASES[name]
    scheme = read_names(paths)
    kinds, shared = named_kinds(scheme.kinds)
    assert {contrast: len(kind.subjects) for contrast, kind in kinds.items()} == contrasts
    found = (
        shared + scheme.ending
        if shared
        else {contrast: kind.pattern + scheme.ending for contrast, kind in kinds.items()}
    )
    assert found == pattern
    assert min(next(iter(kinds.values())).subjects) == first and not scheme.unmatched and not scheme.labels


SCANS = {
    "folders": ([f"s{n}/ses-{v}/t1.nii" for n in EIGHT for v in (1, 2)], "{subject}/{session}/{contrast}"),
    "words": ([f"s{n}_visit{v}_t1.nii" for n in EIGHT for v in (1, 2)], "{subject}_{session}_{contrast}"),
    "dates": ([f"s{n}/2011050{v}/t1.nii" for n in EIGHT for v in (1, 2)], "{subject}/{session}/{contrast}"),
    "twins": ([f"fam{n}_{v}_t1.nii" for n in EIGHT for v in "ab"], "{subject}_{session}_{contrast}"),
    "repeats": (
        [f"OAS1_{n:04d}_MR1/RAW/OAS1_{n:04d}_MR1_mprage-{v}_anon.nii" for n in EIGHT for v in (1, 2)],
        "{subject}_MR1/RAW/{subject}_MR1_{contrast}-{session}_anon",
    ),
    "dates and numbers of an archive": (
        [
            f"{n:03d}_S_{70 + n}/MPRAGE/200{v}-0{n}-11_08_2{n}_30.0/I{40 * n + v}/"
            f"ADNI_{n:03d}_S_{70 + n}_MR_MPRAGE_200{v}{n}11_S{17 * n + v}_I{40 * n + v}.nii"
            for n in EIGHT
            for v in (1, 2)
        ],
        "{subject}/{contrast}/{session}/*/ADNI_{subject}_MR_{contrast}_*",
    ),
    "twice in a path": (
        [f"s{n}/ses-{v}/s{n}_ses-{v}_t1.nii" for n in EIGHT for v in (1, 2)],
        "{subject}/{session}/{subject}_{session}_{contrast}",
    ),
}


@pytest.mark.parametrize("name", SCANS)
def test_scans_of_a_subject_are_no_contrasts(name):
    paths, pattern = SCANS[name]
    kinds, shared = named_kinds(read_names(paths).kinds)
    assert shared == pattern and len(kinds) == 1
    (kind,) = kinds.values()
    assert len(kind.subjects) == 8 and len(kind.paths) == 16


def test_a_session_that_all_have_once_is_no_session():
    kinds, shared = named_kinds(read_names([f"s{n}_visit1_t1.nii" for n in EIGHT]).kinds)
    assert shared == "{subject}_visit1_{contrast}" and len(kinds["t1"].paths) == 8


def test_folders_that_divide_the_subjects_are_classes():
    scheme = read_names([f"{'AD' if n % 2 else 'CN'}/s{n}/T1.nii" for n in EIGHT])
    assert named_kinds(scheme.kinds)[1] == "{label}/{subject}/{contrast}"
    assert scheme.labels["s1"] == "AD" and scheme.labels["s2"] == "CN" and len(scheme.labels) == 8
    scheme = read_names([f"{'train' if n % 3 else 'test'}/s{n}_T1.nii" for n in EIGHT])
    assert named_kinds(scheme.kinds)[1] == "*/{subject}_{contrast}" and not scheme.labels
