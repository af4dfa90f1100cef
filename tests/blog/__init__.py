"""The blog of the documentation's examples, where it is called `blog`."""
