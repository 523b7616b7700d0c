# Snakemake runs this in the new environment and in the folder where it was started. The package stays where it is, as for the
# driver, so an edit of it needs no new environment.
set -eu
if [ ! -f pyproject.toml ]; then
    echo "error: $PWD: no pyproject.toml here; start snakemake from the project's root" >&2
    exit 1
fi
python -m pip install --no-deps --editable .
