"""``{% load layercache %}``: the tag of the layer of fragments."""

from django import template

from django_layercache.fragments import parse_fragment

__all__ = ["register"]

register = template.Library()

#: ``{% layercache 600 "name" vary1 vary2 %}…{% endlayercache %}``
register.tag("layercache", parse_fragment)
