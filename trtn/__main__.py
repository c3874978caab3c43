"""`python -m trtn` is the command `trtn`."""

from trtn.cli import main

if __name__ == "__main__":
    main()
