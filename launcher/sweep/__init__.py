"""Many trials of one job: a space of settings, a sampler, a pruner, and storage that several workers share."""
