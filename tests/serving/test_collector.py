"""A process that serves looks at its garbage seldom, and not at what it is made of."""

import subprocess
import sys

PROGRAM = """
import gc
from trio_gateway.serving.collector import spare_the_collector
before = len(gc.get_objects())
spare_the_collector()
assert len(gc.get_objects()) < before / 10, len(gc.get_objects())
assert gc.get_threshold()[0] == 10_000
class Ring: pass
ring = Ring()
ring.itself = ring
gone = []
import weakref
weakref.finalize(ring, gone.append, 1)
del ring
gc.collect()
assert gone == [1]
"""


def test_it_looks_only_at_what_is_new_and_still_frees_rings() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=60)
