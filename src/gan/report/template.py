"""The templates of the pages: a name that a template asks for and does not get is an error, and text is escaped."""

import jinja2

from gan.report.table import duration, number


def template(name: str, package: str = "gan.report") -> jinja2.Template:
    """The file ``name`` of the templates of ``package``."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(package),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "duration": duration}
    return environment.get_template(name)
