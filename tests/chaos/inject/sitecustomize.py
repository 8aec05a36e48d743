"""Python runs this at the start of every process that has this folder on PYTHONPATH: drivers and Ray workers alike.

So faults are put into real processes from outside, and the package itself has no hook for them.
"""

import os
import traceback

if os.environ.get("CHAOS"):
    try:
        from tests.chaos import faults

        faults.install(os.environ["CHAOS"])
    except BaseException:
        traceback.print_exc()
        os._exit(97)  # python would go on, and a row without its fault would pass
