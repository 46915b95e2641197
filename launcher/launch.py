"""The use case: a job becomes a plan, a run folder, node programs and a verdict."""
