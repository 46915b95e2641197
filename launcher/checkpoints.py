"""The checkpoint protocol on disk: whole or absent, verified, never overwritten."""
