"""For the tests of those who build on the market. Needs nothing but what the tested part needs."""
