"""The rows of the shipped config and the shown studies: each is a study, and a system differs in what is said of it."""

from pathlib import Path

import pytest
import torch
import yaml
from driver import merge
from golden import SMALL
from tiny import sources

from gan import study
from gan.families.contract import Batch, ImageShape
from gan.families.registry import defaults, options_of
from gan.train.trainer import Trainer

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
EXAMPLES = sorted((ROOT / "docs/examples").glob("*.yaml"))
GREY004 = {"res_channels": 512, "d_layers": 5, "d_last_kernel": 2}
SEED004 = GREY004 | {"replicate": 3}
OF_VOLUMES = {  # as of the row stylegan2_3d
    **{"z_dim": 256, "w_dim": 256, "channel_base": 2048, "channel_max": 256, "lr": 0.002, "pl_weight": 0},
    **{"ema_kimg": 5, "conditional": True, "augment_real": "all"},
}
SYSTEMS = {  # what docs/systems.md says that each one is, beside the defaults of its family
    "seed000_plain": {},
    "seed000_ada": {"augment": "bgc"},
    "seed000_attention": {"attention": "linear"},
    "seed000_fq": {"quantize": "replace"},
    "seed000_topk": {"topk": True},
    "seed000_adain": {"modulation": "adain"},
    "seed000_labels": {"conditional": True},
    "seed000_3d": OF_VOLUMES | {"modulation": "adain"},
    "seed000_3d_demod": OF_VOLUMES,
    "seed001": {
        **{"augment": "bg", "r1_gamma": 1.5, "mapping_layers": 8, "mbstd_group": 8},
        **{"ema_kimg": 20, "ema_rampup": None},
    },
    "seed002_dcgan": {"layers": 4, "activation": "leaky_relu", "noise": "uniform", "lr_d": 1e-4},
    "seed002_progan": {"lr": 2e-4, "lr_d": 1e-4},
    "seed002_dcgan_style": {"of": "seed002_dcgan"},
    "seed002_progan_style": {"of": "seed002_progan"},
    "seed002_pix2pix_style": {"of": "seed002_pix2pix"},
    "seed002_pix2pix": {"norm": "batch", "attention": "gates", "depth": 4, "lr_d": 1e-4, "d_weight": 1},
    "seed003": {
        **{"objective": "wgan_gp", "r1_gamma": 0.002, "pl_weight": 0, "lr": 1e-4, "lr_phases": [[667, 1e-5]]},
        **{"xflip": True},
    },
    "seed003_next": {
        **{"objective": "wgan_gp", "r1_gamma": 0.002, "lr": 1e-4, "lr_phases": [[667, 1e-5]], "xflip": True},
        **{"lr_warmup_kimg": 20, "conditional": True, "augment": "mri", "ada_p": 0.2},
    },
    "seed004_rgb": SEED004,
    "seed004_grey": GREY004,
    "seed004_cl": SEED004 | {"pixel_loss": "charbonnier"},
    "seed004_sn": SEED004 | {"spectral_norm": True},
    "seed004_attention_g": SEED004 | {"attention": "generator"},
    "seed004_attention_g_cl": SEED004 | {"attention": "generator", "pixel_loss": "charbonnier"},
    "seed004_attention_g_cl_sn": SEED004
    | {"attention": "generator", "pixel_loss": "charbonnier", "spectral_norm": True},
    "seed004_attention_e_cl_sn": SEED004 | {"attention": "encoder", "pixel_loss": "charbonnier", "spectral_norm": True},
}


def _shown(path):
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    return study.load(merge(config, yaml.safe_load(path.read_text())), SCHEMA)


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_each_shown_study_is_one(path):
    loaded = _shown(path)
    assert len({study.run_key(loaded.recipe(cell)) for cell in loaded.cells()}) == len(loaded.cells()) > 0


def test_each_system_differs_in_what_is_said_of_it_and_in_nothing_else(config):
    rows = {name: row for name, row in config["variants"].items() if name.startswith("seed")}
    assert set(rows) == set(SYSTEMS)
    for name, row in rows.items():
        own = defaults(row["family"])
        differing = {key: value for key, value in row.get("options", {}).items() if own[key] != value}
        assert differing == SYSTEMS[name], name
        assert "training" not in row, name
    page = (ROOT / "docs/systems.md").read_text()
    assert all(f"`{name}`" in page for name in SYSTEMS)


def test_every_system_takes_part_in_a_shown_study():
    """On the phantom, with small networks; those of volumes are on their page."""
    shown = {
        name for of in ("presets", "presets_translate") for name in _shown(ROOT / f"docs/examples/{of}.yaml").variants
    }
    of_volumes = {name for name in SYSTEMS if "_3d" in name}
    assert set(SYSTEMS) - of_volumes <= shown
    page = (ROOT / "docs/volumes.md").read_text()
    assert all(f"`{name}`" in page for name in of_volumes)


class _Noise:
    """Images of noise in two classes, and ``sources`` channels of others to translate."""

    def __init__(self, sources, size):
        self.shape, self.meta = ImageShape(1, size, 2, sources=sources), {"spacing": [2.0] * len(size)}

    def __len__(self):
        return 64

    def batch(self, indices):
        real, source = (torch.rand(len(indices), n, *self.shape.size) * 2 - 1 for n in (1, self.shape.sources))
        return Batch(real, torch.eye(2)[torch.as_tensor(indices) % 2], source)


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_trains(config, name):
    row = config["variants"][name]
    if not options_of(row["family"]).TRAINED:
        assert options_of(row["family"])(**row["options"]).works_on() in SYSTEMS
        return
    options = row.get("options", {}) | SMALL[row["family"]]
    recipe = {
        "variant": {"family": row["family"], "options": options},
        "training": {"batch": 8, "precision": "fp32", "kimg": 0.064},
        "seed": 0,
    }
    size = (12, 12, 16) if "_3d" in name else (32, 32)
    trainer = Trainer(recipe, _Noise(sources(row["family"]), size), torch.device("cpu"))
    for _ in range(2):
        trainer.advance(measure=True)
    means = trainer.meter.read()
    assert {f"phase/{phase.name}" for phase in trainer.phases} <= set(means)
    trainer.require_finite(0.016, means)
