"""The measurements and the edits that the `demo` command and the lab page show."""
