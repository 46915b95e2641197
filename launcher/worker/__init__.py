"""The worker side: the only part of launcher that imports torch."""
