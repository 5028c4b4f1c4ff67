"""Files that survive: atomic writes, checkpoints, the run that resumes, the copy on Google
Drive."""
