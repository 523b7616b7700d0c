import json
from pathlib import Path

from gan import check
from gan.errors import logged
from gan.train.device import pick_device
from gan.utility.cell import score_cell
from gan.utility.options import Settings, with_reference
from gan.utility.reference import read_settings

with logged(snakemake.log[0]):
    check.say(check.choose(snakemake.resources.ops, pick_device(snakemake.resources.device)))
    asked = json.loads(snakemake.params.asked)
    how, given = Settings.of(asked), (snakemake.input.store, snakemake.input.volumes)
    folders = [Path(path).parent for path in snakemake.input.references]
    score_cell(
        Path(snakemake.output.utility).parent,
        dict(zip(with_reference(snakemake.params.tasks), folders, strict=True)),
        read_settings(*given, snakemake.params.tasks, how, asked["regions"], asked.get("detect")),
        asked["arms"],
        how,
        **json.loads(snakemake.params.protocol),
        device=snakemake.resources.device,
    )
