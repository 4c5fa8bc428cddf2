"""The bundle `split`: many tables become one, one becomes many workbooks, and no cell is lost on the way."""
