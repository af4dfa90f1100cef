"""Bytes that could not be decoded are reported once, not at every request."""

import logging

__all__ = ["report_undecodable"]

logger = logging.getLogger("django_layercache.serializers")

_reported: set[str] = set()


def report_undecodable(kind: str, why: str) -> None:
    """Warn that a value of *kind* was not decodable, the first time in this process.

    The engine counts every one of them.
    """
    if kind not in _reported:
        _reported.add(kind)
        logger.warning(
            "A cached %s cannot be decoded (%s). It counts as a miss and is overwritten; "
            "further ones are counted, and not logged.",
            kind,
            why,
        )
