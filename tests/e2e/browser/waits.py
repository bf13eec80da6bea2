"""Reads from a page that draws itself anew whenever something comes: a row may be gone, or not yet
be there, at the moment of one read. Each of these is repeated until it is as expected."""

import time

LIMIT = 20


def eventually(read, holds):
    """The first value of `read` for which `holds`. Fails with the last one."""
    end = time.monotonic() + LIMIT
    while True:
        value = read()
        if holds(value):
            return value
        assert time.monotonic() < end, f"after {LIMIT} s: {value}"


def box(locator):
    """Where an element lies."""
    return eventually(locator.bounding_box, lambda found: found is not None)


def attributes(locator, name):
    """One attribute of all elements, read at one moment."""
    return locator.evaluate_all("(all, name) => all.map((one) => one.getAttribute(name))", name)
