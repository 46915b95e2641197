"""The program that runs once on each node: it starts the agent, holds the lease and leaves nothing behind."""
