"""Which Ray cluster this process works on: joined or started here, whatever the machine, and what it waits for."""
