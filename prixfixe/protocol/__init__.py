"""What crosses every edge: money, products, signed orders, deals, results, outputs.

Pure values and functions of values: no chain library, no HTTP, no clock. One module a noun; import what you
need from it.
"""
