"""`mediaflow search`."""
commands = []
