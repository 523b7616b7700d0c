"""MLflow as a view of a study: the folders of the cells are the truth, the store can be deleted and published again.

Training never imports MLflow; `publish` is the only writer and ``gan ui`` opens the store.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gan.tracking.publisher import Result, publish

__all__ = ["Result", "publish"]


def __getattr__(name: str) -> Any:
    # MLflow takes two seconds to import: only on use.
    if name in __all__:
        from gan.tracking import publisher

        return getattr(publisher, name)
    raise AttributeError(name)
