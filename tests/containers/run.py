"""Runs the tests of the shipped image; the last line is 'N passed, N failed'.

Usage: run.py <image> <fake AWS> [words of test names]
"""

import importlib
import sys
import time
import traceback

import harness

MODULES = ["image", "platforms", "operations", "dropin", "job", "builder"]


def tests():
    for module in map(importlib.import_module, MODULES):
        for name, function in list(vars(module).items()):
            if callable(function) and function.__module__ == module.__name__ and getattr(function, "is_test", False):
                yield name, function


def main(image, cloud, *words):
    harness.set_up(image, cloud)
    passed = failed = 0
    for name, test in tests():
        if words and not any(word in name for word in words):
            continue
        started = time.monotonic()
        try:
            test(image)
        except Exception as error:
            failed += 1
            print(f"FAILED  {name}: {error}", flush=True)
            if not isinstance(error, harness.Failed):
                traceback.print_exc()
            harness.show_containers()
        else:
            passed += 1
            print(f"ok      {name} ({time.monotonic() - started:.0f} s)", flush=True)
        finally:
            harness.tear_down()
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
