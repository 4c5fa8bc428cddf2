"""The bundle `pivot`: one CSV table in, a pivot as workbook and CSV out, with control totals that prove it
whole."""
