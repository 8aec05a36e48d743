"""Does this project run on this machine, is it right, is it fast: one program, one verdict a line, one exit code."""
