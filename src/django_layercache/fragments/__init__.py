"""The layer of template fragments: ``{% layercache %}…{% endlayercache %}``."""

from django_layercache.fragments.node import FragmentNode
from django_layercache.fragments.parsing import parse_fragment

__all__ = ["FragmentNode", "parse_fragment"]
