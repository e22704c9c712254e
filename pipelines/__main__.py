"""`python -m openjft.pipelines`: the command line, where the script `openjft` is not on the path."""

from .cli import main

if __name__ == "__main__":
    main()
