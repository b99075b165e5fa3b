"""The command line: parse, call the library, print. Nothing below knows this package exists."""
