from pathlib import Path

from gan import ops
from gan.errors import logged
from gan.evaluate import score_snapshots
from gan.judge import Judge

with logged(snakemake.log[0]):
    ops.use(snakemake.resources.ops)
    judge, protocol = Judge.read(snakemake.input.judge, snakemake.resources.device)
    score_snapshots(Path(snakemake.output.curve).parent, judge, protocol)
