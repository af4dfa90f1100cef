"""Writes of other programs, on PostgreSQL: triggers that notify, and a listener that invalidates."""
