import json
from pathlib import Path

from gan import check
from gan.errors import logged
from gan.scoring.cell import score_cell
from gan.scoring.judge import Judge, Protocol
from gan.train.device import pick_device

with logged(snakemake.log[0]):
    check.say(check.choose(snakemake.resources.ops, pick_device(snakemake.resources.device)))
    judge, _ = Judge.read(snakemake.input.judge, snakemake.resources.device)
    protocol = Protocol.of(json.loads(snakemake.params.protocol))
    score_cell(Path(snakemake.output.scores).parent, judge, protocol, **snakemake.params.folders)
