"""Writes models with the frameworks that people use, for a scanner to find nothing in.

benign.py DIRECTORY writes as many as there are frameworks installed, and prints their names.
"""
import gzip
import os
import pickle
import sys

import joblib
import numpy as np
from sklearn import (cluster, compose, decomposition, ensemble, gaussian_process, linear_model,
                     model_selection, naive_bayes, neighbors, neural_network, pipeline,
                     preprocessing, svm, tree)
from sklearn.feature_extraction import text
from sklearn.feature_selection import SelectKBest

out = sys.argv[1]
rng = np.random.default_rng(1)
X = rng.normal(size=(200, 5))
y = (X[:, 0] + X[:, 1] > 0).astype(int)
words = ["red green blue", "green blue", "red red", "blue"] * 50


def at(name):
    print(name)
    return os.path.join(out, name)


models = {
    "logistic": linear_model.LogisticRegression(),
    "sgd": linear_model.SGDClassifier(),
    "ridge": linear_model.Ridge(),
    "forest": ensemble.RandomForestClassifier(5),
    "boosted": ensemble.GradientBoostingClassifier(n_estimators=5),
    "histograms": ensemble.HistGradientBoostingClassifier(max_iter=5),
    "isolation": ensemble.IsolationForest(n_estimators=5),
    "tree": tree.DecisionTreeClassifier(),
    "svc": svm.SVC(probability=True),
    "neighbours": neighbors.KNeighborsClassifier(algorithm="kd_tree"),
    "balls": neighbors.KNeighborsClassifier(algorithm="ball_tree"),
    "bayes": naive_bayes.GaussianNB(),
    "network": neural_network.MLPClassifier((8,), max_iter=20),
    "process": gaussian_process.GaussianProcessClassifier(),
    "means": cluster.KMeans(3),
    "pca": decomposition.PCA(2),
    "search": model_selection.GridSearchCV(linear_model.Ridge(), {"alpha": [0.1, 1.0]}),
    "pipeline": pipeline.Pipeline([("s", preprocessing.StandardScaler()), ("k", SelectKBest(k=2)), ("m", svm.LinearSVC())]),
    "columns": pipeline.make_pipeline(compose.ColumnTransformer([("a", preprocessing.MinMaxScaler(), [0, 1]), ("b", preprocessing.KBinsDiscretizer(3), [2])]), linear_model.LogisticRegression()),
    "function": pipeline.make_pipeline(preprocessing.FunctionTransformer(np.log1p), linear_model.Ridge()),
    "voting": ensemble.VotingClassifier([("a", tree.DecisionTreeClassifier()), ("b", naive_bayes.GaussianNB())]),
}
for i, (name, model) in enumerate(models.items()):
    model.fit(np.abs(X), y)
    joblib.dump(model, at(name + ".joblib"))
    with open(at(name + ".pkl"), "wb") as f:
        pickle.dump(model, f, protocol=i % 6)

forest = models["forest"]
for method in ("zlib", "gzip", "bz2", "lzma", "xz"):
    joblib.dump(forest, at("forest." + method + ".joblib"), compress=(method, 3))
with gzip.open(at("forest.pkl.gz"), "wb") as f:
    pickle.dump(forest, f)
joblib.dump({"rows": rng.normal(size=(5000, 8)), "names": np.array(["a", None], dtype=object)}, at("arrays.joblib"))
joblib.dump(pipeline.make_pipeline(text.TfidfVectorizer(), linear_model.LogisticRegression()).fit(words, y), at("text.joblib"))
np.save(at("floats.npy"), X)
np.save(at("objects.npy"), np.array([{"a": 1}, [1, 2]], dtype=object), allow_pickle=True)
np.save(at("records.npy"), np.zeros(3, dtype=[("x", "f4"), ("y", "U8")]))
np.savez_compressed(at("arrays.npz"), X=X, y=y)
with open(at("generator.pkl"), "wb") as f:
    pickle.dump([np.random.RandomState(1), np.random.default_rng(1), np.float32(1), np.ma.masked_array([1, 2])], f)

try:
    import pandas as pd

    frame = pd.DataFrame({"a": X[:, 0], "b": ["x", "y"] * 100, "t": pd.date_range("2024-01-01", periods=200), "c": pd.Categorical(["u", "v"] * 100)})
    frame.to_pickle(at("frame.pkl"))
except ImportError:
    pass
try:
    from skl2onnx import to_onnx

    for name in ("logistic", "forest", "network"):
        with open(at(name + ".onnx"), "wb") as f:
            f.write(to_onnx(models[name], X[:1].astype(np.float32)).SerializeToString())
except ImportError:
    pass
try:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy_helper.from_array(rng.normal(size=(300, 300)).astype(np.float32), "w")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g",
                              [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 300])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 300])], [weights])
    onnx.save_model(helper.make_model(graph), at("external.onnx"), save_as_external_data=True, location="external.bin")
except ImportError:
    pass
try:
    from safetensors.numpy import save_file

    save_file({"w": X.astype(np.float32), "b": np.zeros(7, np.float16), "n": np.array(3)}, at("model.safetensors"), {"format": "np"})
except ImportError:
    pass
try:
    import gguf

    w = gguf.GGUFWriter(at("model.gguf"), "llama")
    w.add_chat_template("{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] | trim }}{% endfor %}")
    w.add_token_list(["a", "b"])
    w.add_tensor("w", X.astype(np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
except ImportError:
    pass
try:
    import h5py

    with h5py.File(at("weights.h5"), "w") as f:
        f.create_dataset("dense/kernel", data=X)
        f.attrs["model_config"] = '{"class_name": "Sequential", "config": {"layers": [{"class_name": "Dense"}]}}'
except ImportError:
    pass
try:
    import torch

    net = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    torch.save(net.state_dict(), at("state.pt"))
    torch.save(net.state_dict(), at("state_old.pth"), _use_new_zipfile_serialization=False)
    torch.save(net, at("whole.pt"))
    optimiser = torch.optim.Adam(net.parameters())
    net(torch.zeros(4, 5)).sum().backward()
    optimiser.step()
    torch.save({"model": net.state_dict(), "optimizer": optimiser.state_dict(), "epoch": 3, "half": torch.zeros(3, dtype=torch.bfloat16)}, at("checkpoint.ckpt"))
    torch.save(torch.sparse_coo_tensor([[0, 1], [1, 0]], [1.0, 2.0], (2, 2)), at("sparse.pt"))
    with open(at("tensor.pkl"), "wb") as f:
        pickle.dump(torch.zeros(3), f)
    torch.jit.script(net).save(at("script.pt"))
except (ImportError, OSError, ValueError):
    pass
