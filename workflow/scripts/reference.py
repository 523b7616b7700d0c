import json
from pathlib import Path

from gan.errors import logged
from gan.utility.options import Settings
from gan.utility.reference import make_reference, read_settings

with logged(snakemake.log[0]):
    asked = json.loads(snakemake.params.asked)
    how, task = Settings.of(asked), snakemake.wildcards.task
    given = snakemake.input.store, snakemake.input.volumes
    setting = read_settings(*given, [task], how, asked["regions"], asked.get("detect"))[task]
    folder, seed = Path(snakemake.output.reference).parent, int(snakemake.wildcards.seed)
    make_reference(setting, asked["arms"], how, seed, folder, snakemake.resources.device)
