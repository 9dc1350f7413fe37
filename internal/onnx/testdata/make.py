"""Make the models of other writers in this directory, and the answers that
ONNX Runtime gives to the same rows.

    pip install onnx onnxruntime scikit-learn skl2onnx numpy
    python3 make.py

Versions and seeds matter to the bytes, not to the test.
"""

import json

import numpy
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

rng = numpy.random.default_rng(0)
X = rng.normal(size=(300, 4)).astype(numpy.float32)
two = (X[:, 0] > 0).astype(int)
three = (X[:, 0] * X[:, 1] > 0).astype(int) + (X[:, 2] > 1).astype(int)


def save(name, model):
    with open(name + ".onnx", "wb") as f:
        f.write(model.SerializeToString())
    session = onnxruntime.InferenceSession(model.SerializeToString())
    entry = session.get_inputs()[0].name
    answers = session.run(None, {entry: X[:8]})
    outputs = {
        port.name: numpy.asarray(a).astype(float).reshape(8, -1).tolist()
        for port, a in zip(session.get_outputs(), answers)
    }
    with open(name + ".json", "w") as f:
        json.dump({"input": entry, "rows": X[:8].tolist(), "outputs": outputs}, f)
        f.write("\n")


def sklearn(name, model, labels):
    model.fit(X, labels)
    last = model.steps[-1][1]
    save(name, to_onnx(model, X[:1], options={id(last): {"zipmap": False}}))


def constant(name, *shape):
    return numpy_helper.from_array(rng.normal(size=shape).astype(numpy.float32), name)


sklearn("mlp", make_pipeline(StandardScaler(), MLPClassifier((8, 4), max_iter=50, random_state=1)), three)
sklearn("logistic", make_pipeline(MinMaxScaler(), LogisticRegression()), three)
sklearn("binary", make_pipeline(RobustScaler(), LogisticRegression()), two)
sklearn("sgd", make_pipeline(StandardScaler(), SGDClassifier(loss="log_loss", random_state=1)), three)

# What torch.onnx.export writes for Linear, BatchNorm1d, LeakyReLU, Dropout,
# Linear, Sigmoid.
node = helper.make_node
variance = numpy_helper.from_array(rng.uniform(0.1, 2, size=8).astype(numpy.float32), "1.running_var")
graph = helper.make_graph(
    [
        node("Gemm", ["x", "0.weight", "0.bias"], ["h"], alpha=1.0, beta=1.0, transB=1),
        node("BatchNormalization", ["h", "1.weight", "1.bias", "1.running_mean", "1.running_var"], ["n"], epsilon=1e-5, momentum=0.9),
        node("LeakyRelu", ["n"], ["r"], alpha=0.2),
        node("Dropout", ["r"], ["d"]),
        node("Gemm", ["d", "4.weight", "4.bias"], ["z"], alpha=1.0, beta=1.0, transB=1),
        node("Sigmoid", ["z"], ["p"]),
    ],
    "torch",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
    [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["batch", 3])],
    [
        constant("0.weight", 8, 4), constant("0.bias", 8), constant("1.weight", 8), constant("1.bias", 8),
        constant("1.running_mean", 8), variance, constant("4.weight", 3, 8), constant("4.bias", 3),
    ],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
onnx.checker.check_model(model)
save("torch", model)
