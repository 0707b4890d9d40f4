"""Elements of pages and charts as text that is safe in a page; serving uses them too, so nothing else is imported here."""

from __future__ import annotations

from markupsafe import Markup, escape


def tag(name: str, /, *content: str, **attributes: str | float) -> Markup:
    """An element.

    Parameters
    ----------
    name : str
        Its name.
    *content : str
        What is in it: ``Markup`` as it is, any other text escaped.
    **attributes : str or float
        Their names with ``_`` for ``-``, and with one at the end where Python reserves the word; floats are rounded to two
        decimals.

    Returns
    -------
    Markup
    """
    return Markup("<{0}{1}>{2}</{0}>").format(name, _pairs(attributes), join(content))


def void(name: str, /, **attributes: str | float) -> Markup:
    """An element of HTML that holds nothing and is not closed, such as ``img``; attributes as for ``tag``.

    Returns
    -------
    Markup
    """
    return Markup("<{0}{1}>").format(name, _pairs(attributes))


def join(content: tuple[str, ...] | list[str] | list[Markup]) -> Markup:
    """Pieces of content one after the other, escaped where they are not ``Markup``."""
    return Markup("").join(escape(piece) for piece in content)


def _pairs(attributes: dict[str, str | float]) -> Markup:
    return Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _plain(value)) for key, value in attributes.items()
    )


def _plain(value: str | float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
