"""Run folders: the only place that spells their file names."""
