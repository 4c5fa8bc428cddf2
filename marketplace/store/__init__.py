"""Tables, transactions, migrations and the named changes of state. Imports no web code."""
