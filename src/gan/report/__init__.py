"""The comparison of a study: tables, figures and one page. Reads the folders of cells; imports no torch."""

from gan.report.page import write_report

__all__ = ["write_report"]
