"""The benchmarks are scripts beside the package; their modules are imported from their own folder."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
