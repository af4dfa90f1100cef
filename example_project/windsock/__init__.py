"""The example site: settings, URLs and entry points."""
