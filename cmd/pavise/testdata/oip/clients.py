"""Asks the model risk through a gateway, with clients that know nothing of it.

    python clients.py CLIENT HOST:PORT TOKEN

Each client finds the server, describes the model, asks about two rows, and then does
what must be refused. It prints ok when all of that went as it should.
"""

import asyncio
import sys

import numpy as np

ROWS = np.array([[0.5, 0.25], [-1.0, 0.75]], dtype=np.float32)
WEIGHTS = np.array([[1, 0, -1], [0, 2, 0]], dtype=np.float32)


def expected():
    e = np.exp(ROWS @ WEIGHTS)
    return e / e.sum(axis=1, keepdims=True)


def check(scores):
    scores = np.asarray(scores, dtype=np.float64).reshape(2, 3)
    assert np.abs(scores - expected()).max() <= 5.1e-5, scores  # the route rounds to four digits


def refused(what, error, call):
    try:
        answer = call()
    except error as e:
        assert str(e), what + ": no reason given"
        return str(e)
    raise AssertionError(f"{what}: answered with {answer}")


def tritonclient_http(address, token, binary):
    import tritonclient.http as triton
    from tritonclient.utils import InferenceServerException

    headers = {"Authorization": "Bearer " + token}
    client = triton.InferenceServerClient(address)

    def ask(rows=ROWS, model="risk", headers=headers):
        x = triton.InferInput("x", list(rows.shape), "FP32")
        x.set_data_from_numpy(rows, binary_data=binary)
        wanted = [triton.InferRequestedOutput("scores", binary_data=binary)]
        return client.infer(model, [x], outputs=wanted, request_id="one", headers=headers)

    assert client.is_server_live() and client.is_server_ready()
    assert client.get_server_metadata()["name"]
    assert client.is_model_ready("risk", headers=headers)
    about = client.get_model_metadata("risk", headers=headers)
    assert about["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}], about
    answer = ask()
    check(answer.as_numpy("scores"))
    assert answer.get_response()["id"] == "one", answer.get_response()
    refused("three columns", InferenceServerException, lambda: ask(np.zeros((2, 3), dtype=np.float32)))
    refused("another model", InferenceServerException, lambda: ask(model="other"))
    refused("no token", InferenceServerException, lambda: ask(headers=None))
    refused("the repository", InferenceServerException, lambda: client.get_model_repository_index(headers=headers))
    refused("unloading", InferenceServerException, lambda: client.unload_model("risk", headers=headers))


def kserve_client(address, token, protocol):
    import httpx
    from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

    headers = {"Authorization": "Bearer " + token, "Content-Type": "application/json"}
    base = "http://" + address

    async def ask(rows=ROWS, model="risk", headers=headers):
        client = InferenceRESTClient(RESTConfig(protocol=protocol, retries=0))
        try:
            if protocol == "v1":
                answer = await client.infer(base, {"instances": rows.tolist()}, model_name=model, headers=dict(headers))
                return answer["predictions"]
            x = InferInput("x", list(rows.shape), "FP32")
            x.set_data_from_numpy(rows, binary_data=False)
            request = InferRequest(model_name=model, infer_inputs=[x])
            answer = await client.infer(base, request, model_name=model, headers=dict(headers))
            return answer.outputs[0].as_numpy()
        finally:
            await client.close()

    async def ready():
        client = InferenceRESTClient(RESTConfig(protocol=protocol, retries=0))
        try:
            return await client.is_server_live(base) and await client.is_server_ready(base) and await client.is_model_ready(base, "risk", headers=headers)
        finally:
            await client.close()

    if protocol == "v2":
        assert asyncio.run(ready())
    check(asyncio.run(ask()))
    for what, call in {
        "three columns": lambda: ask(np.zeros((2, 3), dtype=np.float32)),
        "another model": lambda: ask(model="other"),
        "no token": lambda: ask(headers={"Content-Type": "application/json"}),
    }.items():
        refused(what, httpx.HTTPStatusError, lambda: asyncio.run(call()))


CLIENTS = {
    "tritonclient-http-json": lambda a, t: tritonclient_http(a, t, binary=False),
    "tritonclient-http-binary": lambda a, t: tritonclient_http(a, t, binary=True),
    "kserve-v2": lambda a, t: kserve_client(a, t, "v2"),
    "kserve-v1": lambda a, t: kserve_client(a, t, "v1"),
}

if __name__ == "__main__":
    CLIENTS[sys.argv[1]](sys.argv[2], sys.argv[3])
    print("ok")
