"""From the tag in a template to the node that renders it, checked when the template is compiled."""

from django.template import Context
from django.template.base import FilterExpression, Parser, Token
from django.template.exceptions import TemplateSyntaxError

from django_layercache.exceptions import InvalidArgument
from django_layercache.fragments.node import FragmentNode, Terms, seconds
from django_layercache.fragments.sources import Source

__all__ = ["parse_fragment"]

_USAGE = (
    '{% layercache 600 "name" vary1 vary2 %}…{% endlayercache %}: a timeout in seconds (or None), '
    "a name, and whatever else tells one fragment from another."
)


def parse_fragment(parser: Parser, token: Token) -> FragmentNode:
    """The tag and all up to its end."""
    tag, *bits = token.split_contents()
    if len(bits) < 2:
        raise TemplateSyntaxError(f"{{% {tag} %}} needs a timeout and a name. Write {_USAGE}")
    for bit in bits[2:]:
        if "=" in bit and not bit.startswith(("'", '"')):
            raise TemplateSyntaxError(
                f"{{% {tag} %}} takes no {bit!r}: what it varies on is not named. Write {_USAGE}"
            )
    timeout, *varies = [parser.compile_filter(bit) for bit in (bits[0], *bits[2:])]
    _check_constant_timeout(tag, timeout)
    before: list[Token] = list(parser.tokens)  # type: ignore[arg-type]
    nodelist = parser.parse((f"end{tag}",))
    # The parser takes its tokens from the end of the list.
    inside = before[len(parser.tokens) :][::-1]
    parser.delete_first_token()
    # Constant, in quotes or not, as in Django's {% cache %}.
    name = bits[1].strip("\"'")
    return FragmentNode(
        Terms(tag, timeout, name, tuple(varies)), nodelist, Source(inside, nodelist)
    )


def _check_constant_timeout(tag: str, timeout: FilterExpression) -> None:
    if timeout.filters or getattr(timeout.var, "literal", timeout.var) is None:
        return
    try:
        seconds(timeout.resolve(Context()))
    except InvalidArgument as error:
        raise TemplateSyntaxError(f"{{% {tag} {timeout.token} … %}}: {error}") from error
