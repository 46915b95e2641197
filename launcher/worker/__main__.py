"""The agent's process: started by the node program, forks this node's ranks."""

import os
import sys

from launcher.processes import die_with_parent

if __name__ == "__main__":
    die_with_parent(os.getppid())  # before torch, whose import takes seconds
    from launcher.worker.agent import main

    exit_code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)  # taking an interpreter with torch down costs up to a second
