"""The root URLconf of the tests: empty, so that a test brings its own with `@pytest.mark.urls`."""

urlpatterns = []
