"""The environment itself: pins, hash locks, images built from them, and what tells two images apart."""
