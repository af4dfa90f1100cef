"""The strip at the bottom of each page, which shows what the cache layers did for it."""
