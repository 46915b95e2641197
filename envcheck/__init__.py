"""envcheck: says in seconds what is wrong with a machine, why it matters and what to type."""
