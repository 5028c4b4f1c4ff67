"""What fills `results/`: repeated trainings and comparisons that take hours; not in the library."""
