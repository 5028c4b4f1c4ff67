"""Run the notebooks and keep their pairs in step; not part of the library."""
