"""Pages of HTML from the templates of this room; each page stands alone.

Every text that a template shows is escaped unless it is ``Markup``, so that no file name can become part of the page.
"""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from model.notice import NOTICE

_ENVIRONMENT = Environment(
    loader=PackageLoader("model.reports"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def render(template: str, **content: object) -> str:
    """Write a page.

    Parameters
    ----------
    template : str
        File name in ``templates``, built on ``page.html``.
    **content : object
        What the template shows: text, ``Markup``, or structures of both.

    Returns
    -------
    str
        HTML in UTF-8, with the notice at its top and its end; it refers to nothing outside itself.
    """
    return _ENVIRONMENT.get_template(template).render(notice=NOTICE, **content)
