# The study, its folders, and what jobs request. Rules take narrow params, so that an edit re-runs only the affected jobs.
import importlib.util
import os
import re
import sys
import time
from pathlib import Path

from gan.answer import answer, when_idle
from gan.data.planned import check_inputs
from gan.errors import GanError, failures
from gan.files import write_json
from gan.project import installable
from gan.scoring.extractors import registry
from gan.status.last import note
from gan.study import METRICS_REVISION, Cell, canonical, load
from gan.utility.options import REVISION as UTILITY_REVISION
from gan.utility.options import FURTHER, TASKS, Settings, arms_of, with_reference

RESULTS = "results"

try:
    STUDY = load(config, workflow.source_path("../schemas/config.schema.yaml"))
    if workflow.is_main_process:
        check_inputs(STUDY, Path(RESULTS))
except GanError as error:
    sys.exit(f"error: {error}")

ROOT = f"{RESULTS}/{STUDY.name}"
DATA = f"{ROOT}/data/{{dataset}}"
REAL = f"{ROOT}/features/{{dataset}}"
FEATURES = f"{REAL}/{{extractor}}"
CELL = f"{ROOT}/{{dataset}}/{{variant}}/seed{{seed}}"
JUDGE = f"{REAL}/judge.json"
LOGS = f"{ROOT}/logs"
BENCHMARKS = f"{ROOT}/benchmarks"
STARTED = time.time()
TRAINED = [*STUDY.cells(), *STUDY.sources()]
SCORED = [cell for cell in STUDY.cells() if STUDY.scored(cell.dataset)]
METRICS = STUDY.metrics
UTILITY = STUDY.utility or {"arms": []}
REFERENCE = f"{ROOT}/utility/{{dataset}}/{{task}}/seed{{seed}}"
KERNELS = f"{ROOT}/kernels.json"
TERMS = f"{ROOT}/terms.json"
# The files that extractors need, by their checksum: another place to get one from repeats nothing.
EXTRACTOR_FILES = {
    name: f"{RESULTS}/extractors/{name}-{sha256[:12]}.pt"
    for name, sha256 in STUDY.extractor_files().items()
}

# What moved, of radiomic features alone.
MOVED = {"moved": f"{CELL}/moved.json"} if "radiomics" in METRICS["extractors"] else {}

IMAGE = "envs/study.sif"
DEPLOYED = {str(method) for method in workflow.deployment_settings.deployment_method}

# Jobs run the interpreter that runs Snakemake, even if its environment is not activated. With `--sdm` they have their own,
# which this PATH would hide.
if not DEPLOYED:
    shell.prefix(f"PATH='{Path(sys.executable).parent}':$PATH; ")

# For the scripts that fill a new conda environment, where there is no clone.
if "conda" in DEPLOYED and workflow.is_main_process:
    os.environ.update(
        GAN_INSTALLABLE=str(installable(Path(".snakemake/gan").absolute()))
    )

if "apptainer" in DEPLOYED and not Path(IMAGE).exists():
    sys.exit(
        f"error: {IMAGE}: no such image; build it with: apptainer build {IMAGE} envs/study.def"
    )

# Snakemake would reduce a larger request to what there is, and training would run with fewer GPUs than the config says.
CAP = workflow.global_resources.get("gpu").value  # None without a cap
for kind in ("train", "evaluate"):
    wish = STUDY.resources(kind).get("gpu", 0)
    if workflow.is_main_process and CAP is not None and wish > CAP:
        sys.exit(
            f"error: resources.{kind}.gpu is {wish}, and this call may hold {CAP} (--resources gpu={CAP}, or "
            f"`resources` of the profile); lower the one or raise the other"
        )


# Used with `--sdm apptainer` only.
container: IMAGE


wildcard_constraints:
    dataset="|".join(dict.fromkeys(cell.dataset for cell in TRAINED)),
    variant="|".join(dict.fromkeys(cell.variant for cell in TRAINED)),
    seed=r"\d+",
    extractor="|".join(STUDY.extractors()),
    sha256="[0-9a-f]{12}",
    task="|".join(with_reference([*TASKS, *FURTHER])),


def cell(wildcards):
    return Cell(wildcards.dataset, wildcards.variant, int(wildcards.seed))


def results(cell):
    """The last files of a cell: its scores, or where there are none its generator; with `utility` that too."""
    names = ["scores.json" if STUDY.scored(cell.dataset) else "generator.pt"]
    names += (
        ["utility.json"] if STUDY.scored(cell.dataset) and STUDY.tasks(cell) else []
    )
    return [f"{ROOT}/{cell.folder}/{name}" for name in names]


def recipe(wildcards):
    return canonical(STUDY.recipe(cell(wildcards)))


def names(variants):
    """A regular expression of these variants and no other."""
    return "|".join(dict.fromkeys(variants)) or "(?!)"


def start_weights(wildcards):
    """The file that the cell starts from; that of another cell is made first, any other is identified by its checksum."""
    if source := STUDY.source(cell(wildcards)):
        return f"{ROOT}/{source.folder}/weights.pt"
    path = STUDY.weights(cell(wildcards))
    return ancient(path) if path else []


def made_of(wildcards):
    """The generator of the cell that this one is made of."""
    return f"{ROOT}/{STUDY.works_on(cell(wildcards)).folder}/generator.pt"


def made_with(wildcards):
    """The file of the extractor whose feature maps the cell is made with."""
    return f"{REAL}/{STUDY.encoder(wildcards.variant)}/extractor.pt"


def training_judge(wildcards):
    """The judge that scores snapshots during training; ancient: another one is no reason to train again."""
    judge = JUDGE.format(dataset=wildcards.dataset)
    return ancient(judge) if STUDY.scored(wildcards.dataset) else []


def tell(since):
    """Print the last lines of a run that began at ``since`` (s since the epoch)."""
    tracking = STUDY.config["tracking"]
    for line in answer(
        Path(ROOT), since, tracked=tracking["enabled"], uri=tracking["uri"]
    ):
        print(line, file=sys.stderr)


def idle():
    """Tell the last lines where there is nothing to do: the comparison is that of an earlier run."""
    if not workflow.dryrun:
        note(STUDY)
    tell(since=0)


def ask(kind, what):
    """A resource of jobs of this kind; each retry gets more memory and time, but training resumes and needs no more time."""
    amount = STUDY.resources(kind).get(what, 0)
    if what == "mem_mb" or (what == "runtime" and kind != "train"):
        return lambda wildcards, attempt: amount * attempt
    return amount


def as_resource(amount):
    """Snakemake takes whole numbers and text."""
    return amount if isinstance(amount, int) else str(amount)


def torch_here():
    """Version and CUDA of the installed torch, from its files, as importing it takes seconds; CUDA is None in a build for
    CPUs. With `--sdm` jobs have another torch, which cannot be seen from here and counts as one with CUDA.
    """
    if DEPLOYED:
        return {"version": None, "cuda": "any"}
    spec = importlib.util.find_spec("torch")
    path = Path(spec.origin).parent / "version.py" if spec and spec.origin else Path()
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    values = dict(re.findall(r"^(\w+)(?:: [^=]+)? = '(.+)'$", text, re.MULTILINE))
    return {"version": values.get("__version__"), "cuda": values.get("cuda")}


TORCH = torch_here()


def wanted_kernels():
    """How the study uses kernels of `gan.ops` on its GPUs: cuda (required), auto (if they can be built), or none.

    For auto they are built only if a GPU is requested that the installed torch can use.
    """
    found = {"none"}
    for kind in ("train", "evaluate"):
        ops, device = ask(kind, "ops"), ask(kind, "device")
        usable = TORCH["cuda"] and (ask(kind, "gpu") or device == "cuda")
        if device != "cpu" and (ops == "cuda" or (ops == "auto" and usable)):
            found.add(ops)
    return next(how for how in ("cuda", "auto", "none") if how in found)


def extractor_spec(wildcards):
    spec = registry.section(METRICS, wildcards.extractor)
    if file := EXTRACTOR_FILES.get(wildcards.extractor):
        spec = spec | {"path": file, "url": None, "size": None}
    return canonical(spec)


def protocol(*keys):
    """These keys; what is off is left out, so that a key that a study does not use repeats no job of it."""
    return canonical({key: METRICS[key] for key in keys if METRICS[key] is not None})


def judges(name):
    """This file of every extractor that judges the data set, in the order of the config."""
    return lambda wildcards: [
        f"{REAL}/{kind}/{name}" for kind in STUDY.judges(wildcards.dataset)
    ]


def asked_of_utility(generated):
    """The arms of generated or of real images, what of the data set they are scored by, and the settings of their networks."""
    arms = arms_of(UTILITY["arms"], generated=generated)

    def asked(wildcards):
        row = STUDY.dataset(wildcards.dataset)
        settings = {key: UTILITY[key] for key in Settings.names()}
        detect = {} if row["detect"] is None else {"detect": row["detect"]}
        return canonical({"arms": arms, "regions": row["regions"]} | detect | settings)

    return asked


def references(name):
    """This file of the real arm of each task of a cell."""
    return lambda w: [
        f"{REFERENCE}/{name}".format(dataset=w.dataset, task=task, seed=w.seed)
        for task in with_reference(STUDY.tasks(cell(w)))
    ]
