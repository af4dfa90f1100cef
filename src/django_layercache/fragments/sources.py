"""What a fragment's markup is made from: its own source, and that of the templates that take part.

A deploy that changes any of it must not show what the old one made. The source also says which
names the fragment looks up.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from django.template import Context, Engine, Template, TemplateDoesNotExist
from django.template.base import FilterExpression, Lexer, Node, NodeList, Token, TokenType, Variable
from django.template.exceptions import TemplateSyntaxError
from django.template.library import InclusionNode
from django.template.loader_tags import BLOCK_CONTEXT_KEY, BlockNode, ExtendsNode, IncludeNode

__all__ = ["Facts", "Source"]


@dataclass(frozen=True, slots=True)
class Facts:
    """A digest of a source, and the dotted names that stand in its tags."""

    digest: str
    names: frozenset[str] = frozenset()


_MISSING = Facts("missing")  # rendering it will say so

_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|' + r"'(?:[^'\\]|\\.)*'")
#: Not what stands behind a dot or a bar: that is part of another name, or a filter.
_NAME = re.compile(r"(?<![\w.|])[A-Za-z_]\w*(?:\.\w+)*")

_templates: WeakKeyDictionary[Template, tuple[Facts, tuple[str, ...]]] = WeakKeyDictionary()
_blocks: WeakKeyDictionary[Node, Facts] = WeakKeyDictionary()


class Source:
    """The source of a fragment: the tokens between its tags, and its nodes."""

    def __init__(self, tokens: Sequence[Token], nodelist: NodeList) -> None:
        self._own = _of_tokens(tokens)
        includes = list(_includes(nodelist))
        self._includes = tuple(name for name in includes if isinstance(name, str))
        self._named_later = tuple(name for name in includes if not isinstance(name, str))
        self._blocks = tuple(_block_names(nodelist))

    def facts(self, context: Context) -> Facts:
        """The facts of the source, of the templates it includes, and of the blocks that replace its own."""
        if not (self._includes or self._named_later or self._blocks) or context.template is None:
            return self._own
        engine = context.template.engine
        parts = [self._own, *_of_names(engine, self._includes)]
        for later in self._named_later:
            parts += _of_value(engine, later, context)
        for name in self._blocks:
            parts += _of_blocks(context, name)
        return _joined(parts)


def _of_tokens(tokens: Iterable[Token]) -> Facts:
    parts: list[str] = []
    names: set[str] = set()
    for token in tokens:
        parts += [str(token.token_type.value), token.contents]
        if token.token_type in {TokenType.VAR, TokenType.BLOCK}:
            names.update(_NAME.findall(_QUOTED.sub('""', token.contents)))
    return Facts(_digest(parts), frozenset(names))


def _of_names(engine: Engine, names: Iterable[str]) -> list[Facts]:
    """Of the templates called *names*, and of all that they include by name."""
    facts: dict[str, Facts] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in facts:
            facts[name], inner = _of_template(engine, name)
            waiting += inner
    return [facts[name] for name in sorted(facts)]


def _of_template(engine: Engine, name: str) -> tuple[Facts, tuple[str, ...]]:
    """Of one template alone, and the names of those that it includes."""
    try:
        template = engine.get_template(name)
    except (TemplateDoesNotExist, TemplateSyntaxError):
        return _MISSING, ()
    known = _templates.get(template)
    if known is None:
        inner = tuple(part for part in _includes(template.nodelist) if isinstance(part, str))
        known = _templates[template] = _of_text(str(template.source)), inner
    return known


def _of_value(engine: Engine, later: FilterExpression, context: Context) -> list[Facts]:
    """Of a template that is named by a variable, as far as it can be told before rendering."""
    value = later.resolve(context, ignore_failures=True)
    if isinstance(value, str):
        return _of_names(engine, [value])
    template = getattr(value, "template", value)
    return [_of_text(str(template.source))] if isinstance(template, Template) else []


def _of_text(text: str) -> Facts:
    return _of_tokens(Lexer(text).tokenize())


def _of_blocks(context: Context, name: str) -> Iterator[Facts]:
    """Of all that stands for the block *name*: children replace it, and may refer to what they replace."""
    block_context = context.render_context.get(BLOCK_CONTEXT_KEY)
    for block in block_context.blocks.get(name, ()) if block_context is not None else ():
        facts = _blocks.get(block)
        if facts is None:
            facts = _blocks[block] = _of_origin(block)
        yield facts


def _of_origin(block: Node) -> Facts:
    """Of the whole template that *block* stands in."""
    origin: Any = block.origin
    if origin.loader is None:
        return Facts(f"{origin.name} {id(block)}")  # made from a text: nobody else has this one
    return _of_text(origin.loader.get_contents(origin))


def _includes(nodelist: Any) -> Iterator[str | FilterExpression]:
    """The templates that ``{% include %}``, ``{% extends %}`` and inclusion tags bring in."""
    for node in nodelist.get_nodes_by_type((IncludeNode, ExtendsNode, InclusionNode)):
        if isinstance(node, InclusionNode):
            yield from _names(node.filename)
            continue
        expression = node.template if isinstance(node, IncludeNode) else node.parent_name
        is_constant = not isinstance(expression.var, Variable) and not expression.filters
        yield str(expression.var) if is_constant else expression


def _block_names(nodelist: Any) -> Iterator[str]:
    for block in nodelist.get_nodes_by_type(BlockNode):
        yield block.name


def _names(filename: Any) -> Sequence[str]:
    names = filename if isinstance(filename, list | tuple) else [filename]
    return [name for name in names if isinstance(name, str)]


def _joined(facts: Sequence[Facts]) -> Facts:
    names = frozenset().union(*(part.names for part in facts))
    return Facts(_digest(part.digest for part in facts), names)


def _digest(parts: Iterable[str]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode(errors="surrogatepass")
        digest.update(b"%d:%b" % (len(data), data))
    return digest.hexdigest()
