"""Where images come from: a generated, downloaded or own data set, decoded once into a bank of
pixels."""
