"""What a fragment's markup is made from: its own source, and that of the templates it includes.

A deploy that changes any of it must not show what the old one made.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from django.template import Engine, Template, TemplateDoesNotExist
from django.template.base import FilterExpression, NodeList, Token, Variable
from django.template.exceptions import TemplateSyntaxError
from django.template.library import InclusionNode
from django.template.loader_tags import ExtendsNode, IncludeNode

__all__ = ["Source"]

_digests: WeakKeyDictionary[Template, str] = WeakKeyDictionary()


class Source:
    """The source of a fragment: the tokens between its tags, and its nodes."""

    def __init__(self, tokens: Iterable[Token], nodelist: NodeList) -> None:
        digest = hashlib.blake2b(digest_size=16)
        for token in tokens:
            contents = token.contents.encode(errors="surrogatepass")
            digest.update(b"%d %d:%b" % (token.token_type.value, len(contents), contents))
        self._own = digest.hexdigest()
        self._includes = tuple(_included_names(nodelist))

    def digest(self, engine: Engine) -> str:
        """The digest of the source, with the templates of *engine* that are included by name."""
        if not self._includes:
            return self._own
        seen: set[str] = set()
        return _joined([self._own, *(_of_name(engine, name, seen) for name in self._includes)])


def _of_name(engine: Engine, name: str, seen: set[str]) -> str:
    if name in seen:
        return ""
    seen.add(name)
    try:
        template = engine.get_template(name)
    except (TemplateDoesNotExist, TemplateSyntaxError):
        return "missing"  # rendering it will say so
    digest = _digests.get(template)
    if digest is None:
        parts = [str(template.source)]
        parts += [_of_name(engine, inner, seen) for inner in _included_names(template.nodelist)]
        digest = _digests[template] = _joined(parts)
    return digest


def _included_names(nodelist: Any) -> Iterator[str]:
    """The names of templates that are written out in ``{% include %}``, ``{% extends %}`` and inclusion tags."""
    for node in nodelist.get_nodes_by_type((IncludeNode, ExtendsNode, InclusionNode)):
        if isinstance(node, InclusionNode):
            yield from _names(node.filename)
        elif isinstance(node, IncludeNode):
            yield from _constant(node.template)
        else:
            yield from _constant(node.parent_name)


def _names(filename: Any) -> Sequence[str]:
    if isinstance(filename, str):
        return [filename]
    if isinstance(filename, list | tuple):
        return [name for name in filename if isinstance(name, str)]
    return []


def _constant(expression: FilterExpression) -> Sequence[str]:
    if isinstance(expression.var, Variable) or expression.filters:
        return []
    return [str(expression.var)]


def _joined(parts: Sequence[str]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode(errors="surrogatepass")
        digest.update(b"%d:%b" % (len(data), data))
    return digest.hexdigest()
