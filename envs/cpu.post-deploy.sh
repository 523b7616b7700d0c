# Snakemake runs this in the new environment and in the folder where it was started. In a clone the package stays where it is, as
# for the driver, so an edit of it needs no new environment; in a folder of `gan init` it is what the driver has (GAN_INSTALLABLE).
set -eu
if [ -f pyproject.toml ]; then
    python -m pip install --no-deps --editable .
elif [ -n "${GAN_INSTALLABLE:-}" ]; then
    python -m pip install --no-deps "$GAN_INSTALLABLE"
else
    echo "error: $PWD: no pyproject.toml here; start snakemake from the project's root, or in a folder made by gan init" >&2
    exit 1
fi
