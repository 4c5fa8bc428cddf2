"""The market as pure functions of values: which orders match, and why the others do not."""
