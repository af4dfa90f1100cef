"""Values as bytes, and values as parts of keys.

A codec (:class:`~django_layercache.engine.Codec`) for each kind of value:

- :mod:`~django_layercache.serializers.rows`: rows of a database,
- :mod:`~django_layercache.serializers.text`: rendered markup,
- :mod:`~django_layercache.serializers.pages`: responses,
- :mod:`~django_layercache.serializers.signed`: any Python object, signed.

The first three can decode hostile bytes without running anything. The last one unpickles, and
therefore verifies a signature first.
"""
