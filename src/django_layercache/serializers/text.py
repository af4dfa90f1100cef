"""Rendered markup as bytes: ``T1``, then UTF-8."""

from django_layercache.exceptions import Undecodable, Unstorable
from django_layercache.serializers.reports import report_undecodable

__all__ = ["TextCodec"]

FORMAT = b"T1"


class TextCodec:
    """A codec for ``str``."""

    def dumps(self, value: str) -> bytes:
        try:
            return FORMAT + value.encode()
        except UnicodeEncodeError as error:
            raise Unstorable("the text holds half of a surrogate pair") from error

    def loads(self, data: bytes) -> str:
        if not data.startswith(FORMAT):
            report_undecodable("text", "another format")
            raise Undecodable("not a text")
        try:
            return data[len(FORMAT) :].decode()
        except UnicodeDecodeError as error:
            report_undecodable("text", "not UTF-8")
            raise Undecodable("not UTF-8") from error
