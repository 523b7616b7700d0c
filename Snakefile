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


# For `gan status`, which shows the study that ran last; and the present terms of what each cell is made of, for all that says
# them. No rule makes them: what depends on a file by `ancient` is left out of a run that makes that file again.
onstart:
    note(STUDY)
    write_json(TERMS, STUDY.all_terms())


# What the comparison says, if this run has made it, and where it is.
onsuccess:
    tell(STARTED)


onerror:
    print(*(failures(LOGS, STARTED) or [SILENT]), sep="\n", file=sys.stderr)


rule all:
    default_target: True
    input:
        [path for cell in STUDY.cells() for path in results(cell)],
        rules.compare.output,
        # While kernels are made again, Snakemake looks at what depends on them by `ancient` only through this input.
        KERNELS,
        f"{ROOT}/tracking.json" if STUDY.config["tracking"]["enabled"] else [],


# Last: it looks at the names of all rules.
include: "workflow/rules/targets.smk"


# Where there is nothing to do, Snakemake calls no hook.
if workflow.is_main_process and {*ASKED[""]} <= {"all"}:
    when_idle(idle)
