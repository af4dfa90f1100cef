"""Caching for Django in layers, kept fresh by one invalidation engine."""
