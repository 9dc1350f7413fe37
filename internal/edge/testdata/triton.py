"""Triton's client against the gateway: triton.py ADDRESS TOKEN. It asks the model m,
which takes x, FP32 [-1,2], and gives scores, FP32 [-1,3]."""

import queue
import sys

import numpy as np
import tritonclient.grpc as tgrpc
import tritonclient.http as thttp
from tritonclient.utils import InferenceServerException

address, token = sys.argv[1:]


def bearer():
    """The client writes the length of a text into the headers that it is given, and a next
    call would carry it again: so each call gets its own."""
    return {"authorization": "Bearer " + token}


row = np.array([[0.5, 0.25], [1, -1]], dtype=np.float32)


def check(scores):
    assert scores.shape == (2, 3) and scores.dtype == np.float32, scores
    assert abs(scores[0][0] - 0.4223) < 1e-6 and np.all(np.abs(scores.sum(axis=1) - 1) < 1e-3), scores


def refused(call, *words):
    try:
        call()
    except InferenceServerException as e:
        assert any(w in str(e) for w in words), (words, str(e))
        assert token not in str(e)
        return
    raise AssertionError(("accepted", words))


def http():
    client = thttp.InferenceServerClient(url=address)
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("m", headers=bearer())
    assert client.get_server_metadata()["name"] == "pavise"
    assert client.get_model_metadata("m", headers=bearer())["inputs"][0]["name"] == "x"
    for binary_in in (True, False):
        x = thttp.InferInput("x", [2, 2], "FP32")
        x.set_data_from_numpy(row, binary_data=binary_in)
        check(client.infer("m", [x], headers=bearer()).as_numpy("scores"))
        for binary_out in (True, False):
            out = thttp.InferRequestedOutput("scores", binary_data=binary_out)
            answer = client.infer("m", [x], outputs=[out], request_id="a", headers=bearer())
            check(answer.as_numpy("scores"))
            assert answer.get_response()["id"] == "a"
    x = thttp.InferInput("x", [2, 2], "FP32").set_data_from_numpy(row)
    check(client.async_infer("m", [x], headers=bearer()).get_result().as_numpy("scores"))
    refused(lambda: client.infer("m", [x]), "token", "401")
    refused(lambda: client.infer("other", [x], headers=bearer()), "route")
    refused(lambda: client.infer("m", [x], sequence_id=7, sequence_start=True, headers=bearer()), "sequence_")
    refused(lambda: client.infer("m", [x], priority=1, headers=bearer()), "priority")
    refused(lambda: client.infer("m", [x], outputs=[thttp.InferRequestedOutput("scores", class_count=2)], headers=bearer()), "classification")
    refused(lambda: client.infer("m", [x], request_compression_algorithm="gzip", headers=bearer()), "compressed")
    shared = thttp.InferInput("x", [2, 2], "FP32")
    shared.set_shared_memory("region", 16)
    refused(lambda: client.infer("m", [shared], headers=bearer()), "shared_memory")
    short = thttp.InferInput("x", [2, 3], "FP32").set_data_from_numpy(np.zeros((2, 3), dtype=np.float32))
    refused(lambda: client.infer("m", [short], headers=bearer()), "shape")
    nan = thttp.InferInput("x", [1, 2], "FP32").set_data_from_numpy(np.array([[np.nan, 0]], dtype=np.float32))
    refused(lambda: client.infer("m", [nan], headers=bearer()), "NaN")
    refused(lambda: client.load_model("m", headers=bearer()), "not a route", "denied", "refused", "404", "403")
    refused(lambda: client.get_system_shared_memory_status(headers=bearer()), "not a route", "denied", "404", "403")
    client.close()


def grpc():
    client = tgrpc.InferenceServerClient(url=address)
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("m", headers=bearer())
    assert client.get_server_metadata().name == "pavise"
    meta = client.get_model_metadata("m", headers=bearer())
    assert meta.inputs[0].name == "x" and list(meta.outputs[0].shape) == [-1, 3]
    x = tgrpc.InferInput("x", [2, 2], "FP32").set_data_from_numpy(row)
    for outputs in (None, [tgrpc.InferRequestedOutput("scores")]):
        answer = client.infer("m", [x], outputs=outputs, request_id="b", headers=bearer(), client_timeout=10)
        check(answer.as_numpy("scores"))
        assert answer.get_response().id == "b"
    refused(lambda: client.infer("m", [x]), "UNAUTHENTICATED")
    refused(lambda: client.infer("other", [x], headers=bearer()), "NOT_FOUND")
    refused(lambda: client.infer("m", [x], model_version="2", headers=bearer()), "INVALID_ARGUMENT")
    refused(lambda: client.infer("m", [x], sequence_id=7, headers=bearer()), "sequence_")
    refused(lambda: client.infer("m", [x], outputs=[tgrpc.InferRequestedOutput("scores", class_count=2)], headers=bearer()), "classification")
    refused(lambda: client.infer("m", [x], compression_algorithm="gzip", headers=bearer()), "UNIMPLEMENTED")
    refused(lambda: client.load_model("m", headers=bearer()), "PERMISSION_DENIED", "UNIMPLEMENTED")
    refused(lambda: client.get_trace_settings(headers=bearer()), "PERMISSION_DENIED", "UNIMPLEMENTED")
    shared = tgrpc.InferInput("x", [2, 2], "FP32")
    shared.set_shared_memory("region", 16)
    refused(lambda: client.infer("m", [shared], headers=bearer()), "shared_memory")

    answers = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)), headers=bearer())
    for i in range(5):
        client.async_stream_infer("other" if i == 2 else "m", [x], request_id=str(i))
    for i in range(5):
        result, error = answers.get(timeout=10)
        if i == 2:
            assert error is not None and "record" in str(error), error
            continue
        assert error is None, error
        assert result.get_response().id == str(i)
        assert result.get_response().parameters["pavise_record"].int64_param >= 0
        check(result.as_numpy("scores"))
    client.stop_stream()
    client.close()


http()
grpc()
print("done")
