"""Says what Evidently's PSI makes of columns, and what it costs.

peer.py REFERENCE CURRENT... reads files of little-endian doubles. It prints a line of JSON: the
PSI of each file beside the reference, and nanoseconds of processor for each value of them, the
least and the median of several rounds over the first.
"""
import json
import statistics
import sys
import time

import evidently
import numpy as np
import pandas as pd
from evidently.legacy.calculations.stattests import psi
from evidently.legacy.core import ColumnType

series = [pd.Series(np.fromfile(name, dtype="<f8")) for name in sys.argv[1:]]
reference, files = series[0], series[1:]
scores = [float(psi._psi(reference, f, ColumnType.Numerical, 0.1)[0]) for f in files]
rounds = []
for _ in range(7):
    began, cells = time.process_time_ns(), 0
    while time.process_time_ns() - began < 300_000_000:
        psi._psi(reference, files[0], ColumnType.Numerical, 0.1)
        cells += len(files[0])
    rounds.append((time.process_time_ns() - began) / cells)
print(json.dumps({"version": evidently.__version__, "psi": scores, "least": min(rounds), "median": statistics.median(rounds)}))
