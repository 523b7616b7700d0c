"""The table of degradations: what it holds, and that each fault is what its name says."""

import json

import numpy as np
import pandas as pd
import pytest
from test_evaluate import judge  # noqa: F401  the fixture: a store of two contrasts and a mask, and its judge
from test_metrics_extractors import weights  # noqa: F401  the fixture: a file with the interface of Inception's

from gan.data.store import Store
from gan.evaluate import main
from gan.files import checksum
from gan.metrics.scores import METRICS
from gan.scales import stored_to_uint8
from gan.scoring import degradations
from gan.scoring.contrasts import to_score
from gan.scoring.degradations import EXCHANGED, FAULTS, UNCHANGED
from gan.scoring.probes import Samples


@pytest.fixture(scope="module")
def table(judge):  # noqa: F811
    """The rows of the command, and the Markdown of them."""
    files = {"extractors": ["extractor.pt"], "real": ["real.npz"]}
    named: dict = {key: [str(judge / name) for name in names] for key, names in files.items()}
    named |= {"images": str(judge / "images.npz"), "store": str(judge / "store"), "protocol": {}}
    (judge / "judge.json").write_text(json.dumps(named))
    asked = ["--store", str(judge / "store"), "--judge", str(judge / "judge.json"), "--bootstrap", "5"]
    assert main(["--device", "cpu", "degradations", *asked, "--out", str(judge / "table.csv")]) == 0
    rows = pd.read_csv(judge / "table.csv")
    return rows, degradations.markdown(rows)


def test_every_metric_has_a_row_for_every_fault(table):
    rows, text = table
    assert list(rows.degradation.unique()) == list(FAULTS)
    names = {*(f"{name}_indomain" for name in METRICS), "ms_ssim", "spectrum", "histogram", "noise", "asymmetry"}
    names |= {"labelled", "area_1", "area_2", "area_3", "copies_indomain"}
    assert set(rows.metric) == names and set(rows.contrast) == {"t1c", "t2w", "seg", "joint", "all"}
    assert not rows.duplicated(["degradation", "metric", "contrast"]).any()
    assert {30} == set(rows.n_fake) and rows.low.notna().all()
    blocks = text.split("\n\n`")
    assert len(blocks) == 4, "in-domain features alone and joint, pixels, mask"
    for block in blocks:
        assert all(f"\n| {name} |" in block for name in FAULTS)


def test_the_table_shows_what_each_metric_sees(table):
    rows, _ = table
    value = rows[rows.contrast == "all"].pivot(index="degradation", columns="metric", values="value")
    kept = value.loc[UNCHANGED]
    assert value.loc["blur of 2 px"].spectrum > 3 * kept.spectrum
    assert value.loc["gain 0.9"].histogram > kept.histogram
    assert value.loc["Rician noise of 10 %"].noise > kept.noise + 5
    assert value.loc["one image in 20, repeated"].ms_ssim == pytest.approx(1)
    assert value.loc["one image in 20, repeated"].recall_indomain < kept.recall_indomain
    assert value.loc["mirrored left to right"].asymmetry == pytest.approx(kept.asymmetry)
    assert value.loc["copies of training images"].copies_indomain == 1 > kept.copies_indomain
    floor = rows[(rows.metric == "histogram") & (rows.contrast == "all") & (rows.degradation == UNCHANGED)].iloc[0]
    assert floor.value == pytest.approx(floor.floor), "unchanged validation images are the floor of pixel metrics"
    joint = rows[(rows.contrast == "joint") & (rows.metric == "fd_indomain")].set_index("degradation").value
    assert joint[EXCHANGED] > joint[UNCHANGED]
    assert value.fd_indomain[EXCHANGED] == pytest.approx(kept.fd_indomain, rel=1e-6)


def test_the_same_seed_gives_the_same_table(judge, table):  # noqa: F811
    asked = ["--store", str(judge / "store"), "--judge", str(judge / "judge.json")]
    assert main(["--device", "cpu", "degradations", *asked, "--out", str(judge / "table.md")]) == 0
    assert (judge / "table.md").read_text() == table[1]


def test_more_extractors_for_the_table_alone(judge, table, weights, tmp_path, monkeypatch, capsys):  # noqa: F811
    """Inception with weights of the same interface, next to the judge's own extractor."""
    monkeypatch.setattr(degradations, "FAULTS", {name: FAULTS[name] for name in (UNCHANGED, "blur of 2 px")})
    monkeypatch.delenv("GAN_INCEPTION", raising=False)
    asked = ["--device", "cpu", "degradations", "--store", str(judge / "store"), "--judge", str(judge / "judge.json")]
    asked += ["--out", str(tmp_path / "table.csv"), "--also"]
    spec = {"path": str(weights), "sha256": checksum(weights)}
    assert main([*asked, f"inception={json.dumps(spec)}"]) == 0
    rows = pd.read_csv(tmp_path / "table.csv")
    own = {"kid", "fid", "kd_inception", "vendi_inception", "recall_inception"}
    assert own < set(rows.metric) and "fd_inception" not in set(rows.metric)
    value = rows[rows.contrast == "all"].pivot(index="degradation", columns="metric", values="value")
    assert value.fid["blur of 2 px"] > value.fid[UNCHANGED] and rows[rows.metric == "fid"].floor.isna().all()
    before = table[0][table[0].contrast == "all"].pivot(index="degradation", columns="metric", values="value")
    assert value.kd_indomain[UNCHANGED] == pytest.approx(before.kd_indomain[UNCHANGED]), "the judge's own is the same"
    text = degradations.markdown(rows)
    (block,) = (
        part for part in text.split("\n\n`") if part.startswith(f"inception-clean-{checksum(weights)[:8]}`, all")
    )
    assert "| FID |" in block and "| – |" in block.split("*floor*")[1]
    for wrong, message in (
        ("inception", "neither metrics.inception.path nor GAN_INCEPTION is set"),
        ('indomain={"steps": 4, "dim": 16, "seed": 0}', "already; leave it out of --also"),
        ("vgg", "'vgg' is not known; allowed: inception"),
    ):
        assert main([*asked, wrong]) == 1
        assert message in capsys.readouterr().err


def test_faults_are_what_they_are_called():
    random = np.random.default_rng(0)
    x = random.integers(20, 200, (4, 8, 8)).astype(np.uint8)
    samples = Samples({"t1": x, "t2": x + 1}, np.arange(256).reshape(4, 8, 8))

    def after(name: str) -> Samples:
        change = FAULTS[name].change
        assert change is not None
        return change(samples, random)

    mirrored = after("mirrored left to right")
    assert np.array_equal(mirrored.grey["t2"], x[:, :, ::-1] + 1)
    assert mirrored.masks is not None and mirrored.masks[0, 0, 0] == 7
    assert np.array_equal(after("upside down").grey["t1"], x[:, ::-1])
    assert np.array_equal(after("gain 1.1").grey["t1"], (x * 1.1).round())
    exchanged = after(EXCHANGED).grey
    assert np.array_equal(exchanged["t1"], x) and not np.array_equal(exchanged["t2"], x + 1)
    black = Samples({"t1": np.zeros((20, 32, 32), np.uint8)}, None)
    change = FAULTS["Rician noise of 10 %"].change
    assert change is not None
    noise = change(black, random).grey["t1"].astype(float)
    assert noise.mean() == pytest.approx(25.5 * (np.pi / 2) ** 0.5, rel=0.02), "the mean of a Rayleigh distribution"


def test_rows_that_faults_choose(judge):  # noqa: F811
    store = Store.open(judge / "store")
    contrasts = to_score(store.meta)
    real = {split: stored_to_uint8(store.images[store.rows(split), 0]) for split in ("train", "val")}

    def drawn(name: str) -> np.ndarray:
        return np.concatenate([batch.grey["t1c"] for batch in degradations._samples(store, contrasts, FAULTS[name], 0)])

    def found(images: np.ndarray, split: str) -> np.ndarray:
        """Positions of ``images`` among those of ``split``."""
        equal = (images[:, None] == real[split]).all((2, 3))
        assert (equal.sum(1) == 1).all()
        return equal.argmax(1)

    order = found(drawn(UNCHANGED), "val")
    assert sorted(order) == list(range(30))
    assert ((order[1:] // 10) != (order[:-1] // 10)).all(), "subjects take turns"
    assert len(np.unique(found(drawn("one image in 3, repeated"), "val"))) == 10
    copies = found(drawn("copies of training images"), "train")
    assert len(np.unique(copies)) == 30


def test_a_table_of_another_form_is_refused(judge, tmp_path, capsys):  # noqa: F811
    asked = ["--store", str(judge / "store"), "--judge", str(judge / "judge.json"), "--out", str(tmp_path / "t.txt")]
    assert main(["--device", "cpu", "degradations", *asked]) == 1
    assert "t.txt: ends in '.txt'; allowed: .md, .csv" in capsys.readouterr().err
