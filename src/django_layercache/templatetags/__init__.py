"""``{% load layercache %}``."""
