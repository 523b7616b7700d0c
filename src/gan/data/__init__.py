"""From a source to a packed store of slices: fetch, convert, build_store. Nothing here imports torch."""

from gan.data.slices import build_store
from gan.data.sources import fetch
from gan.data.store import Store
from gan.data.volumes import convert

__all__ = ["Store", "build_store", "convert", "fetch"]
