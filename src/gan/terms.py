"""Terms of the data: the licence of what a result is made of, and what of it may be passed on.

They are declared in the config, in the row of a data set or of a variant that brings images or weights from elsewhere,
and are no part of a recipe: to declare them trains nothing again. A result has the terms of all its origins, and of
each act the strictest word: not declared, no, ask, yes. Whether weights and generated images are adaptations of the
data is unsettled in law; here they count as such. That is caution and no counsel.

A study keeps the present declaration in `FILE`; a generator holds that of the time when it was written.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gan.errors import GanError
from gan.files import read_json

FILE = "terms.json"
YES, ASK, NO, UNDECLARED = "yes", "ask", "no", "not declared"
STRICTNESS = (YES, ASK, NO, UNDECLARED)
ACTS = {
    "share_images": "real images",
    "share_weights": "weights",
    "share_synthetic": "generated images",
    "commercial": "commercial use",
}
TEXTS = ("licence", "url", "citation", "attribution", "ethics")
PHANTOM = {  # of `gan.data.phantom`
    "licence": "Apache-2.0",
    "url": None,
    "citation": None,
    "attribution": "phantom of gan-study",
    "allows": dict.fromkeys(ACTS, YES),
    "ethics": "No patient: the images are computed.",
}


@dataclass(frozen=True)
class Origin:
    """What one data set, or a folder or file from elsewhere, asks for. licence: None where nothing is declared.

    url: of the licence or the data; citation, attribution: what users have to quote; ethics: approval and consent, in
    words; allows: a word of `STRICTNESS` for each of `ACTS`, in their order.
    """

    name: str
    allows: tuple[str, ...]
    licence: str | None = None
    url: str | None = None
    citation: str | None = None
    attribution: str | None = None
    ethics: str | None = None

    @classmethod
    def of(cls, name: str, row: Mapping[str, Any] | None) -> "Origin":
        """Of ``terms`` in a row of the config, with its defaults; None: not declared."""
        if row is None:
            return cls(name, (UNDECLARED,) * len(ACTS))
        return cls(name, tuple(row["allows"][act] for act in ACTS), **{key: row[key] for key in TEXTS})

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self) | {"allows": dict(zip(ACTS, self.allows, strict=True))}

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> "Origin":
        """Of a `record`; TypeError or KeyError for what is none."""
        words = tuple(record["allows"][act] for act in ACTS)
        texts = {key: record[key] for key in TEXTS}
        known = all(text is None or isinstance(text, str) for text in texts.values())
        if not (isinstance(record["name"], str) and known and all(word in STRICTNESS for word in words)):
            raise TypeError("no record of terms")
        return cls(record["name"], words, **texts)


@dataclass(frozen=True)
class Terms:
    """The terms of a result by its origins; without any nothing is declared."""

    origins: tuple[Origin, ...] = ()

    def allows(self, act: str) -> str:
        """The strictest word of all origins on ``act``, one of `ACTS`."""
        place = [*ACTS].index(act)
        return max((origin.allows[place] for origin in self.origins), key=STRICTNESS.index, default=UNDECLARED)

    @property
    def undeclared(self) -> list[str]:
        """The names of the origins without terms."""
        return [origin.name for origin in self.origins if origin.licence is None]

    @property
    def declared(self) -> bool:
        """Whether each origin has terms."""
        return bool(self.origins) and not self.undeclared

    @property
    def licences(self) -> list[str]:
        """Each licence once."""
        return list(dict.fromkeys(origin.licence for origin in self.origins if origin.licence))

    def quoted(self, text: str) -> list[str]:
        """What the origins say as ``text`` (one of `TEXTS`), each once."""
        return list(dict.fromkeys(said for origin in self.origins if (said := getattr(origin, text))))

    def line(self) -> str:
        """All in one line; of undeclared terms a warning."""
        if not self.declared:
            names = f" ({', '.join(self.undeclared)})" if self.undeclared else ""
            return f"terms of the data not declared{names}: do not pass on"
        return f"{' and '.join(self.licences)}; " + ", ".join(
            f"{name}: {self.allows(act)}" for act, name in ACTS.items()
        )

    def record(self) -> dict[str, Any]:
        """As JSON: the word on each act, and what each origin declares."""
        allows = {act: self.allows(act) for act in ACTS}
        return {"declared": self.declared, "allows": allows, "origins": [origin.record() for origin in self.origins]}

    @classmethod
    def read(cls, record: Any) -> "Terms":
        """Of a `record`; what cannot be read counts as not declared."""
        try:
            return cls(tuple(Origin.read(one) for one in record["origins"]))
        except (KeyError, TypeError):
            return cls()


def united(parts: Iterable[Origin]) -> Terms:
    """The terms of what is made of all ``parts``; each origin once."""
    return Terms(tuple({origin.name: origin for origin in parts}.values()))


def of_study(path: Path, dataset: str, variant: str) -> Terms | None:
    """What the file ``path`` of a study (`FILE`) declares for a variant on a data set; None without a word on it."""
    try:
        record = read_json(path)[dataset][variant]
    except (GanError, KeyError, TypeError, OSError):
        return None
    return Terms.read(record)


def as_words(config: dict[str, Any]) -> None:
    """Turn true and false in ``terms`` of ``config`` into yes and no: YAML reads those words so."""
    for kind in ("datasets", "variants"):
        rows = config.get(kind)
        for row in rows.values() if isinstance(rows, dict) else ():
            terms = row.get("terms") if isinstance(row, dict) else None
            allows = terms.get("allows") if isinstance(terms, dict) else None
            if isinstance(allows, dict):
                allows |= {act: YES if word else NO for act, word in allows.items() if isinstance(word, bool)}
