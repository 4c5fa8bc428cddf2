"""A whole market on one machine: chain, contract, service and workers as processes, with funded accounts."""
