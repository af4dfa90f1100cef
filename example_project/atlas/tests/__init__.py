"""The site's own tests: `python manage.py test`, in the folder of the example."""
