"""What the project's scripts share. Standard library only: it runs before anything is installed."""
