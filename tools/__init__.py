"""Run, pair, publish and mark the notebooks; describe a data set; adopt a model."""
