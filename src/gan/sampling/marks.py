"""What every file of generated images says of itself: that it is synthetic, and what made it.

A folder's `samples.json` is lost when a file is passed on, so the mark is within the file: as text of a PNG, in the
header of a NIfTI image. An array has a file of the same name next to it.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan.families.registry import families
from gan.files import write_json
from gan.sampling.snapshot import Snapshot
from gan.terms import Terms

if TYPE_CHECKING:
    import nibabel as nib

YES, IN_PART, NO = "yes", "in part", "no"
# Digital source types of the IPTC: made by a trained model, or put together with what one made.
SOURCE_TYPES = {
    YES: "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia",
    IN_PART: "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia",
}
XMP = (
    '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
    'Iptc4xmpExt:DigitalSourceType="{}"/></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
)
DESCRIP = 79  # bytes of text in the field of that name in a NIfTI header


@dataclass(frozen=True)
class Mark:
    """What made an image: the family, run key and kimg of a generator, and the seed that the image was drawn from.

    synthetic: `YES`; `IN_PART` of a picture that shows real images too, or of an image with the anatomy of a training
    patient; `NO` where a family copies real images.
    translated_from: the contrasts of a patient's scan that the image was derived from; empty for an image of nobody.
    terms: of the data that the generator is made of.
    """

    family: str
    run_key: str
    kimg: float
    seed: int
    synthetic: str = YES
    translated_from: tuple[str, ...] = ()
    terms: Terms = field(default_factory=Terms)

    @classmethod
    def of(cls, snapshot: Snapshot, seed: int, next_to_real: bool = False) -> "Mark":
        """next_to_real: of a picture that shows real images too."""
        shows = next_to_real or snapshot.shows_patients
        synthetic = NO if families()[snapshot.family].model.copies else IN_PART if shows else YES
        return cls(snapshot.family, snapshot.run_key, snapshot.kimg, seed, synthetic, terms=snapshot.terms)

    def record(self, index: int | str) -> dict[str, Any]:
        """As JSON; index: that of the image among those of its seed, or of several as ``0-15``."""
        kind = {"synthetic": self.synthetic != NO, "digital_source_type": SOURCE_TYPES.get(self.synthetic)}
        own = {key: value for key, value in asdict(self).items() if key != "translated_from" or value}
        return own | kind | {"index": index, "terms": self.terms.record()}

    def text(self, index: int | str) -> dict[str, str]:
        """For `gan.grids.write_png`."""
        found = {"Synthetic": self.synthetic, "Family": self.family, "Run key": self.run_key, "Kimg": f"{self.kimg:g}"}
        found |= {"Seed": str(self.seed), "Index": str(index), "Terms": self.terms.line()}
        for keyword, text in (("Licence", "licence"), ("Attribution", "attribution"), ("Citation", "citation")):
            if quoted := self.terms.quoted(text):
                found[keyword] = "; ".join(quoted)
        kind = SOURCE_TYPES.get(self.synthetic)
        return found | ({"XML:com.adobe.xmp": XMP.format(kind)} if kind else {})

    def line(self, index: int | str) -> str:
        """In `DESCRIP` bytes; a long name of a family is cut off."""
        kind = {NO: "copy of a real image", IN_PART: "synthetic in part"}.get(self.synthetic, "synthetic")
        what = f"seed {self.seed}, image {index}"
        if self.translated_from:
            what = f"translated from {'+'.join(self.translated_from)}"
        text = f"{kind}, run {self.run_key}, {what}, {self.kimg:g} kimg, {self.family}"
        return text.encode("ascii", "replace")[:DESCRIP].decode()

    def put(self, image: "nib.Nifti1Image", index: int | str) -> None:
        """Mark ``image``: its description, and the record as a comment in an extension of its header."""
        from nibabel.nifti1 import Nifti1Extension  # training, which marks pictures, needs no nibabel

        image.header["descrip"] = self.line(index)  # type: ignore[index]
        comment = json.dumps(self.record(index)).encode()
        image.header.extensions.append(Nifti1Extension("comment", comment))

    def put_next_to(self, path: Path, index: int | str) -> None:
        """Write the record as ``<name>.json`` next to the file ``path``."""
        write_json(path.with_suffix(".json"), self.record(index))


def first(number: int) -> str:
    """The index of the first ``number`` images of a seed."""
    return f"0-{number - 1}" if number > 1 else "0"
