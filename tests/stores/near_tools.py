"""Waiting for what a server pushes."""

import time
from collections.abc import Callable
from typing import Any

from django_layercache.stores.near_pushed import PushedTokens


def until(happens: Callable[[], Any], seconds: float = 10.0) -> None:
    """Wait until *happens* says so."""
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.002)


def is_known(known: PushedTokens, tag: str) -> bool:
    """Whether *tag* need not be asked for, as far as has been heard by now."""
    tokens = known.tokens()
    return tokens is not None and tag in tokens.by_tag
