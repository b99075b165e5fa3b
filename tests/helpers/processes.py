"""Child processes that tests start, kill and wait for."""

import os
import traceback


def fork(work):
    """Run `work` in a child process; gives its number. The child does no parallel tensor work."""
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def ended(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
