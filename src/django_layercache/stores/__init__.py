"""Where tokens, marks and entries live, behind one contract (:mod:`django_layercache.stores.base`)."""
