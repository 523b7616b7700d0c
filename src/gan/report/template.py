"""The templates of the pages: a name that a template asks for and does not get is an error, and text is escaped."""

import jinja2

from gan.report.table import number


def template(name: str) -> jinja2.Template:
    """The file ``name`` of gan/report/templates."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("gan.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    return environment.get_template(name)
