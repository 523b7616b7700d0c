"""How a volume becomes stored samples: its slices, or the whole of it."""

from typing import Any

from gan.data.cut.common import Encoded, Item
from gan.data.cut.slices import cut_slices
from gan.data.cut.whole import cut_whole


def encode(item: Item, row: dict[str, Any]) -> Encoded:
    """The samples of ``item``, as ``row`` asks for them."""
    return cut_whole(item, row) if row.get("volumes") else cut_slices(item, row)
