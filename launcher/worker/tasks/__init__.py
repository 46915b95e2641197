"""Task adapters: who owns the training loop."""
