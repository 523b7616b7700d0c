"""The exported folder as Croissant 1.1 (MLCommons): JSON-LD with every file, its checksum, licence and limitations."""

from pathlib import Path
from typing import Any

from gan.files import checksum
from gan.governance.facts import Facts
from gan.governance.images import COLUMNS, LIST, Exported

CONFORMS = ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"]
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
ENCODINGS = {
    "csv": "text/csv",
    "png": "image/png",
    "gz": "application/gzip",
    "dcm": "application/dicom",
    "safetensors": "application/octet-stream",
}


def croissant(facts: Facts, images: Exported, folder: Path, warnings: list[str]) -> dict[str, Any]:
    """The description of the images in ``folder``, which are there already; what is not known is left out."""
    terms = facts.terms
    files = [LIST, *(row["file"] for row in images.files)]
    found: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS,
        "name": f"{facts.name}-synthetic",
        "description": f"{images.number} synthetic images of {facts.family}, trained on {facts.cell.dataset}",
        "license": terms.quoted("url")[:1] or terms.licences,
        "citeAs": "; ".join(terms.quoted("citation")),
        "creditText": "; ".join(terms.quoted("attribution")),
        "isLiveDataset": False,
        "keywords": ["synthetic", "MRI", facts.family, *terms.licences],
        "rai:dataLimitations": [*LIMITS, *warnings],
        "rai:dataBiases": ["Those of the training data, and what the generator leaves out."],
        "rai:dataCollection": "Drawn from a generative model; no scan was made.",
        "rai:hasSyntheticData": True,
        "distribution": [_file(folder, name) for name in files],
        "recordSet": [_records()],
    }
    return {key: value for key, value in found.items() if value not in ("", [])}


LIMITS = [
    "Research only: no diagnosis, and no substitute for patients.",
    "An image can resemble a patient of the training data; the search for copies is a screen.",
]


def _file(folder: Path, name: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "contentSize": f"{(folder / name).stat().st_size} B",
        "encodingFormat": ENCODINGS[name.rpartition(".")[2]],
        "sha256": checksum(folder / name),
    }


def _records() -> dict[str, Any]:
    """The lines of ``images.csv``."""
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"images/{name}",
            "name": name,
            "dataType": "sc:Integer" if name == "index" else "sc:Text",
            "source": {"fileObject": {"@id": LIST}, "extract": {"column": name}},
        }
        for name in COLUMNS
    ]
    return {"@type": "cr:RecordSet", "@id": "images", "name": "images", "field": fields}
