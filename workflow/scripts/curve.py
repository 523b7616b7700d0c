from pathlib import Path

from gan import check
from gan.errors import logged
from gan.scoring.cell import score_snapshots
from gan.scoring.judge import Judge
from gan.train.device import pick_device

with logged(snakemake.log[0]):
    check.say(check.choose(snakemake.resources.ops, pick_device(snakemake.resources.device)))
    judge, protocol = Judge.read(snakemake.input.judge, snakemake.resources.device)
    score_snapshots(Path(snakemake.output.curve).parent, judge, protocol)
