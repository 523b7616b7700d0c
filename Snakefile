import sys

from snakemake.utils import min_version

from gan.errors import GanError
from gan.syntax import check_syntax

min_version("9.27")


try:
    check_syntax("config.yaml")
except GanError as error:
    sys.exit(f"error: {error}")


configfile: "config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/ops.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/utility.smk"
include: "workflow/rules/report.smk"


localrules:
    all,


# The message for a job that could not report its own.
SILENT = "error: a job ended without a message, as if killed; run the same call again, training resumes from its last checkpoint"


# What the comparison says, if this run has made it, and where it is.
onsuccess:
    for line in answer(Path(ROOT), STARTED):
        print(line, file=sys.stderr)


onerror:
    print(*(failures(LOGS, STARTED) or [SILENT]), sep="\n", file=sys.stderr)


rule all:
    default_target: True
    input:
        [f"{ROOT}/{cell.folder}/scores.json" for cell in SCORED],
        [f"{ROOT}/{cell.folder}/generator.pt" for cell in UNSCORED],
        [f"{ROOT}/{cell.folder}/utility.json" for cell in USEFUL],
        f"{ROOT}/comparison.html",
        # While kernels are made again, Snakemake looks at what depends on them by `ancient` only through this input.
        KERNELS,
        TERMS,
        f"{ROOT}/tracking.json" if STUDY.config["tracking"]["enabled"] else [],
