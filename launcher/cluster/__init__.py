"""Nodes as a whole: what is looked at on each before a run, and whether they fit together."""
