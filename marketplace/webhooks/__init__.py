"""Webhooks: customers' own servers are told what happens to their jobs and accounts, signed as Standard
Webhooks say (https://www.standardwebhooks.com)."""
