"""The site's own tests: `python example_project/manage.py test atlas`."""
