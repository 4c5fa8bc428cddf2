"""The chain: typed calls over the committed artefacts, events as frozen values, transactions, deployment.

No chain library is loaded for any of this: the contracts use few ABI types, and importing web3 takes 1.5 s,
which each command and each worker would pay. `MarketClient.web3_contract()` hands over to web3 for what is
not wrapped.
"""
