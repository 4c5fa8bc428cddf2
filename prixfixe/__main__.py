"""`python -m prixfixe` is the command `prixfixe`."""

from prixfixe.cli import main

main()
