"""The provider's daemon: takes assignments from the market, runs them in a cage, signs what came out.

It runs on a stranger's machine and speaks HTTP to the service and JSON-RPC to the chain; it imports
`prixfixe` and nothing else of ours. The provider's own key is never here: a worker key, which the provider
authorised on chain until an expiry, signs asks and results.
"""
