"""envcheck: says in seconds what is wrong with a machine, why it matters and what to type."""

import sys

if sys.version_info < (3, 9):  # noqa: UP036 - it is sent to nodes, whose older Pythons could not even read the rest
    sys.exit("envcheck needs Python 3.9 or later, this one is " + sys.version.split()[0])
