"""Python runs this at the start of every process of a watched run (see tools/house/loaded.py)."""

import os
import traceback

if os.environ.get("HOUSE_SEEN"):
    try:
        import house_watch

        house_watch.start()
    except BaseException:
        traceback.print_exc()
        os._exit(97)  # Python would go on, and the figure would be too small without a word
