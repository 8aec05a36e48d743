"""The report: everything that a store can show, in one HTML file that opens without a network."""
