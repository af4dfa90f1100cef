"""From results to tables and drawings. Nothing here measures, and nothing here knows a figure."""
