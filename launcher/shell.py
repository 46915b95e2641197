"""The only module that starts processes."""
