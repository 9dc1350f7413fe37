"""Asks picklescan about directories, and what it holds for dangerous.

peer.py DIRECTORY... prints for each whether it finds an issue there; peer.py without
any prints the globals on its list, "module name" in a line.
"""
import logging
import sys

from picklescan import scanner

logging.disable(logging.CRITICAL)
if len(sys.argv) == 1:
    for module, names in scanner._unsafe_globals.items():
        for name in ["anything"] if names == "*" else [names] if isinstance(names, str) else names:
            print(module, name)
for directory in sys.argv[1:]:
    try:
        print(int(scanner.scan_directory_path(directory).issues_count > 0))
    except Exception:
        print(0)
