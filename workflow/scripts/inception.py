from pathlib import Path

from gan.data.download import download
from gan.data.sources import verify
from gan.errors import logged

weights = Path(snakemake.output.weights)
with logged(snakemake.log[0]):
    download(snakemake.params.url, weights)
    verify(weights, {"sha256": snakemake.params.sha256})
