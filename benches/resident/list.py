"""Lists the functions that a daemon at rest has run, and those that spans need, for the linker to put side
by side.

Usage: list.py <the unstripped binary> <callgrind's output of the start> <for segments> <for spans>

The kernel maps code in windows of 64 KB around what is touched. Functions that run at the start and for
segments are scattered over the binary, so without this nearly all of it would be resident. What only the start
needs comes first and what only spans need comes last, so that a request touches few pages.
"""

import bisect
import re
import subprocess
import sys


def executed(profile):
    """Addresses of instructions; callgrind gives most of them relative to the one before."""
    found, address = set(), 0
    for line in open(profile):
        position = re.match(r"(0x[0-9a-f]+|\+\d+|-\d+|\*) ", line)
        if position:
            text = position[1]
            if text.startswith("0x"):
                address = int(text, 16)
            elif text != "*":
                address += int(text)
            found.add(address)
    return sorted(found)


def functions(binary):
    """Name, first address and the one behind the last, of each function."""
    listing = subprocess.run(["nm", "-S", binary], capture_output=True, text=True, check=True).stdout
    for row in map(str.split, listing.splitlines()):
        if len(row) == 4 and row[2] in "tT":
            start = int(row[0], 16)
            yield row[3], start, start + int(row[1], 16)


def main(binary, *profiles):
    listed = list(functions(binary))
    start, segments, spans = (run_by(executed(profile), listed) for profile in profiles)
    for names in (start - segments, segments, spans - segments - start):
        for name in sorted(names):
            print(name)


def run_by(addresses, listed):
    return {name for name, start, end in listed if has_run(addresses, start, end)}


def has_run(addresses, start, end):
    at = bisect.bisect_left(addresses, start)
    return at < len(addresses) and addresses[at] < end


if __name__ == "__main__":
    main(*sys.argv[1:])
