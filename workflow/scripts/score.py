import json
from pathlib import Path

from gan import ops
from gan.errors import logged
from gan.evaluate import score_cell
from gan.judge import Judge, Protocol

with logged(snakemake.log[0]):
    ops.use(snakemake.resources.ops)
    judge, _ = Judge.read(snakemake.input.judge, snakemake.resources.device)
    protocol = Protocol.of(json.loads(snakemake.params.protocol))
    score_cell(Path(snakemake.output.scores).parent, judge, protocol, snakemake.params.checkpoints)
