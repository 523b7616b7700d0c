"""The comparison of a study: tables, figures and one page. Reads the folders of cells; imports no torch."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gan.report.page import write_report

__all__ = ["write_report"]


def __getattr__(name: str) -> Any:
    # pandas and scipy take seconds to import: only on use.
    if name in __all__:
        from gan.report import page

        return getattr(page, name)
    raise AttributeError(name)
