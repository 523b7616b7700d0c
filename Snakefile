from snakemake.utils import min_version

min_version("9.27")


configfile: "config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"


localrules:
    all,


rule all:
    default_target: True
    input:
        [f"{ROOT}/{cell.folder}/scores.json" for cell in STUDY.cells()],
        f"{ROOT}/comparison.html",
        f"{ROOT}/tracking.json" if STUDY.config["tracking"]["enabled"] else [],
