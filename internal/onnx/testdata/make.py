"""Make the models of other writers in this directory, and the answers that
ONNX Runtime gives to the same rows.

    pip install onnx onnxruntime scikit-learn skl2onnx numpy lightgbm xgboost onnxmltools
    python3 make.py

Versions and seeds matter to the bytes, not to the test.
"""

import itertools
import json

import lightgbm
import numpy
import onnx
import onnxmltools
import onnxruntime
import xgboost
from onnx import TensorProto, helper, numpy_helper
from onnxmltools.convert.common.data_types import FloatTensorType
from skl2onnx import to_onnx
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

rng = numpy.random.default_rng(0)
X = rng.normal(size=(300, 4)).astype(numpy.float32)
two = (X[:, 0] > 0).astype(int)
three = (X[:, 0] * X[:, 1] > 0).astype(int) + (X[:, 2] > 1).astype(int)


def save(name, model, rows=X[:8]):
    with open(name + ".onnx", "wb") as f:
        f.write(model.SerializeToString())
    session = onnxruntime.InferenceSession(model.SerializeToString())
    entry = session.get_inputs()[0].name
    answers = session.run(None, {entry: rows})
    # Of maps from class to score, only the scores are kept, and texts are left out.
    answers = [[list(row.values()) for row in a] if isinstance(a, list) else a for a in answers]
    outputs = {
        port.name: numpy.asarray(a).astype(float).reshape(len(rows), -1).tolist()
        for port, a in zip(session.get_outputs(), answers)
        if numpy.asarray(a).dtype.kind != "O"
    }
    with open(name + ".json", "w") as f:
        holes = [[None if v != v else v for v in row] for row in rows.tolist()]
        json.dump({"input": entry, "rows": holes, "outputs": outputs}, f)
        f.write("\n")


def sklearn(name, model, labels):
    model.fit(X, labels)
    last = model.steps[-1][1]
    save(name, to_onnx(model, X[:1], options={id(last): {"zipmap": False}}))


def trees(name, model, labels, **options):
    model.fit(X, labels)
    save(name, to_onnx(model, X[:1], options={id(model): options} if options else None))


def constant(name, *shape):
    return numpy_helper.from_array(rng.normal(size=shape).astype(numpy.float32), name)


sklearn("mlp", make_pipeline(StandardScaler(), MLPClassifier((8, 4), max_iter=50, random_state=1)), three)
sklearn("logistic", make_pipeline(MinMaxScaler(), LogisticRegression()), three)
sklearn("binary", make_pipeline(RobustScaler(), LogisticRegression()), two)
sklearn("sgd", make_pipeline(StandardScaler(), SGDClassifier(loss="log_loss", random_state=1)), three)

texts = numpy.array(["web", "mail", "other"])[three]
plain = {"zipmap": False}
trees("tree", DecisionTreeClassifier(max_leaf_nodes=20, random_state=1), three, **plain)
trees("tree-binary-maps", DecisionTreeClassifier(max_leaf_nodes=9, random_state=1), two)
trees("forest", RandomForestClassifier(7, max_depth=5, random_state=1), three, **plain)
trees("forest-binary", RandomForestClassifier(7, max_depth=4, random_state=1), two, **plain)
trees("forest-texts", ExtraTreesClassifier(5, max_depth=4, random_state=1), texts, **plain)
trees("forest-texts-maps", ExtraTreesClassifier(5, max_depth=4, random_state=1), texts)
trees("boosted", GradientBoostingClassifier(n_estimators=8, max_depth=3, random_state=1), three, **plain)
trees("boosted-binary", GradientBoostingClassifier(n_estimators=8, max_depth=3, random_state=1), two, **plain)
trees("boosted-regressor", GradientBoostingRegressor(n_estimators=8, max_depth=3, random_state=1), X[:, 0] * X[:, 1])
trees("forest-regressor", RandomForestRegressor(6, max_depth=4, random_state=1), X[:, 0] * X[:, 1])
trees("tree-regressor", DecisionTreeRegressor(max_leaf_nodes=9, random_state=1), X[:, :2])


# The other two that grow most trees, trained on rows with holes.
def others(name, convert, model, labels):
    known = numpy.where(numpy.random.default_rng(2).random(X.shape) < 0.2, numpy.float32(numpy.nan), X)
    model.fit(known, labels)
    save(name, convert(model, initial_types=[("x", FloatTensorType([None, 4]))]), known[:20])


light = {"n_estimators": 4, "num_leaves": 7, "verbose": -1, "random_state": 1}
others("lightgbm", onnxmltools.convert_lightgbm, lightgbm.LGBMClassifier(**light), three)
others("lightgbm-binary", onnxmltools.convert_lightgbm, lightgbm.LGBMClassifier(**light), two)
others("lightgbm-forest", onnxmltools.convert_lightgbm, lightgbm.LGBMClassifier(boosting_type="rf", bagging_freq=1, bagging_fraction=0.6, **light), two)
others("lightgbm-regressor", onnxmltools.convert_lightgbm, lightgbm.LGBMRegressor(**light), X[:, 0] * X[:, 1])
extreme = {"n_estimators": 4, "max_depth": 3, "random_state": 1}
others("xgboost", onnxmltools.convert_xgboost, xgboost.XGBClassifier(**extreme), three)
others("xgboost-binary", onnxmltools.convert_xgboost, xgboost.XGBClassifier(**extreme), two)
others("xgboost-regressor", onnxmltools.convert_xgboost, xgboost.XGBRegressor(**extreme), X[:, 0] * X[:, 1])


# Every comparison, and rows with holes: no converter writes them all.
def rules(name, mode, unknown):
    labels = [3, 5, 8]
    tree = helper.make_node(
        "TreeEnsembleClassifier", ["x"], ["label", "scores"], domain="ai.onnx.ml",
        nodes_treeids=[0] * 5, nodes_nodeids=[0, 4, 3, 2, 1], nodes_featureids=[2, 0, 1, 0, 0],
        nodes_modes=[mode, "LEAF", mode, "LEAF", "LEAF"], nodes_values=[0.5, 0.0, -1.0, 0.0, 0.0],
        nodes_truenodeids=[4, 0, 2, 0, 0], nodes_falsenodeids=[3, 0, 1, 0, 0],
        nodes_missing_value_tracks_true=[unknown, 0, 1 - unknown, 0, 0],
        class_treeids=[0] * 4, class_nodeids=[4, 2, 2, 1], class_ids=[0, 2, 1, 2], class_weights=[1.0, 0.75, 0.5, 2.0],
        base_values=[0.1, 0.2, 0.3], classlabels_int64s=labels, post_transform="SOFTMAX",
    )
    graph = helper.make_graph(
        [tree], "rules",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("label", TensorProto.INT64, ["batch"]), helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)], ir_version=8)
    onnx.checker.check_model(model)
    save(name, model, edges)


edges = numpy.array(list(itertools.product([0], [-2, -1, 0, numpy.nan], [-1, 0.5, 1, numpy.nan], [0]))).astype(numpy.float32)
for mode in ["LEQ", "LT", "GTE", "GT", "EQ", "NEQ"]:
    rules(f"rule-{mode.lower()}", f"BRANCH_{mode}", len(mode) % 2)

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
