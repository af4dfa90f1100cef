"""The one table of the library: the outbox. It is empty as long as the store answers."""

from django.db import models

__all__ = ["OutboxEntry"]


class OutboxEntry(models.Model):
    """The tags that one transaction changed while the store was away, as a JSON array."""

    tags = models.TextField()
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "layercache_outbox"
        verbose_name = "outbox entry"
        verbose_name_plural = "outbox entries"

    def __str__(self) -> str:
        return f"{self.created:%Y-%m-%d %H:%M:%S} {self.tags}"
