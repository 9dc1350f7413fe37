"""Callers of a model by Triton's own client: honest.py ADDRESS FILE. The file has a list of
callers as JSON, each with a token and rows; every answer is printed, a line a batch, as the
caller's number, the row's and the scores."""

import json
import sys

import numpy as np
import tritonclient.grpc as tgrpc
import tritonclient.http as thttp

address, path = sys.argv[1:]
with open(path) as f:
    callers = json.load(f)
clients = [thttp.InferenceServerClient(url=address), tgrpc.InferenceServerClient(url=address)]
kinds = [thttp.InferInput, tgrpc.InferInput]

# They ask in turns, each by the protocol that it likes, with batches of its own size.
at = [0] * len(callers)
while any(at[i] < len(c["rows"]) for i, c in enumerate(callers)):
    for i, c in enumerate(callers):
        rows = c["rows"][at[i] : at[i] + 1 + i % 9]
        if not rows:
            continue
        x = kinds[i % 2]("x", [len(rows), len(rows[0])], "FP32")
        x.set_data_from_numpy(np.array(rows, dtype=np.float32))
        got = clients[i % 2].infer("m", [x], headers={"authorization": "Bearer " + c["token"]})
        print(json.dumps([i, at[i], got.as_numpy("scores").tolist()]))
        at[i] += len(rows)
print("done")
