"""Values as bytes, and back, without any ability to run code that is not ours."""
