"""Pure functions over samples, defect detectors, the quality report, and preferences. Knows nothing of pipelines."""
