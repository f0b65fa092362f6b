"""The command ``lcd``: arguments and printing; the work is done by the packages below."""
