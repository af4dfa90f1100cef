"""Sphinx's settings. `make docs` builds; a warning is an error."""

from importlib.metadata import version as installed_version

project = "django-layercache"
author = "the django-layercache contributors"
copyright = f"2026, {author}"  # noqa: A001
release = installed_version("django-layercache")
version = release

extensions = ["myst_parser", "sphinx_copybutton"]
exclude_patterns = ["_build"]
nitpicky = True

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_title = "django-layercache"
html_theme_options = {"navigation_with_keys": True}
