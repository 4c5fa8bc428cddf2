"""Managed accounts: people who sign in by e-mail, and money whose key the operator holds for them."""
