"""Files for other programs: one writer for each ending, and what each of them can hold."""
