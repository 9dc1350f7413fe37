"""Let ONNX Runtime and scikit-learn stand beside our trees.

    python3 oracle.py check model.onnx answers.json

runs our model on the rows of answers.json, {"rows": rows, "probabilities":
rows}, and fails if a probability differs by more than 1e-5. A null is a missing
number.

    python3 oracle.py make directory

trains models with scikit-learn, converts them, and writes NAME.onnx with
NAME.json: the rows, and the scores that ONNX Runtime gives to them.

Needs onnx, onnxruntime, numpy, and for make scikit-learn and skl2onnx.
"""

import json
import pathlib
import sys
import warnings

import numpy
import onnx
import onnxruntime

LARGEST = 1e-5


def session(model):
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


def check(model_path, answers_path):
    onnx.checker.check_model(onnx.load(model_path), full_check=True)
    answers = json.loads(pathlib.Path(answers_path).read_text())
    rows = numpy.array(answers["rows"], dtype=numpy.float32)  # null becomes NaN
    ours = numpy.array(answers["probabilities"], dtype=numpy.float32)
    (theirs,) = session(model_path).run(["y"], {"x": rows})
    difference = float(numpy.abs(ours - theirs).max())
    print(f"onnxruntime {onnxruntime.__version__}: {len(rows)} rows, largest difference {difference:.2e}")
    if not difference <= LARGEST:
        sys.exit(f"probabilities differ by {difference:.2e}, more than {LARGEST:.0e}")


def plain_numbers():
    """Let the converter write truth values as the integers that they are in ONNX."""
    written = onnx.helper.make_attribute

    def make_attribute(key, value, *args, **kwargs):
        if isinstance(value, list):
            value = [int(v) if isinstance(v, (bool, numpy.bool_)) else v for v in value]
        return written(key, value, *args, **kwargs)

    onnx.helper.make_attribute = make_attribute


def models():
    from sklearn import ensemble, tree

    few = {"n_estimators": 20, "random_state": 1}
    yield "tree", tree.DecisionTreeClassifier(max_leaf_nodes=60, random_state=1)
    yield "extra-tree", tree.ExtraTreeClassifier(random_state=1)
    yield "forest", ensemble.RandomForestClassifier(**few)
    yield "extra-trees", ensemble.ExtraTreesClassifier(max_depth=7, **few)
    yield "boosted", ensemble.GradientBoostingClassifier(max_depth=4, **few)
    yield "histograms", ensemble.HistGradientBoostingClassifier(max_iter=30, random_state=1)


def regressors():
    from sklearn import ensemble, tree

    few = {"n_estimators": 20, "random_state": 1}
    yield "tree-regressor", tree.DecisionTreeRegressor(max_leaf_nodes=60, random_state=1)
    yield "forest-regressor", ensemble.RandomForestRegressor(max_depth=8, **few)
    yield "boosted-regressor", ensemble.GradientBoostingRegressor(max_depth=4, **few)
    yield "histograms-regressor", ensemble.HistGradientBoostingRegressor(max_iter=30, random_state=1)


def save(directory, name, model, x, labels, options):
    from skl2onnx import to_onnx

    known = x.copy()
    if "histograms" in name:
        known[numpy.random.default_rng(2).random(x.shape) < 0.2] = numpy.nan
    model.fit(known, labels)
    try:
        written = to_onnx(model, x[:1], options=options).SerializeToString()
    except Exception as e:  # the converter cannot write every model
        print(f"{name}: not converted: {str(e).splitlines()[0][:100]}")
        return
    entry = session(written)
    wide = (100 * x).astype(numpy.float32)
    rows = numpy.concatenate([x[:300], wide[:50], numpy.round(x[300:350])])
    if "histograms" in name:  # the one kind that sends missing numbers a way of their own
        rows[numpy.random.default_rng(1).random(rows.shape) < 0.2] = numpy.nan
    answers = dict(zip((o.name for o in entry.get_outputs()), entry.run(None, {entry.get_inputs()[0].name: rows})))
    answers = {key: numpy.asarray(a) for key, a in answers.items()}
    kept = {key: a.reshape(len(rows), -1).astype(float).tolist() for key, a in answers.items() if a.dtype.kind != "O"}
    (directory / f"{name}.onnx").write_bytes(written)
    (directory / f"{name}.json").write_text(json.dumps({"input": entry.get_inputs()[0].name, "rows": [[None if v != v else v for v in row] for row in rows.tolist()], "outputs": kept}))
    print(f"{name}: {len(written)} bytes")


def make(path):
    warnings.simplefilter("ignore")
    plain_numbers()
    directory = pathlib.Path(path)
    rng = numpy.random.default_rng(0)
    x = (rng.normal(size=(800, 9)) * 10.0 ** numpy.arange(-4, 5)).astype(numpy.float32)
    score = x[:, 4] + x[:, 3] * 10 * (x[:, 5] > 0) + numpy.round(x[:, 6] / 100)
    labels = {2: (score > 0).astype(int), 4: numpy.digitize(score, numpy.quantile(score, [0.25, 0.5, 0.75]))}
    for classes, y in labels.items():
        for name, model in models():
            save(directory, f"{name}-{classes}", model, x, y, {id(model): {"zipmap": False}})
    texts = numpy.array(["normal", "dos", "probe", "r2l"])[labels[4]]
    for name, model in list(models())[:2]:
        save(directory, f"{name}-texts", model, x, texts, {id(model): {"zipmap": False}})
    for name, model in regressors():
        save(directory, name, model, x, score, None)


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1] == "check":
        check(sys.argv[2], sys.argv[3])
    elif len(sys.argv) == 3 and sys.argv[1] == "make":
        make(sys.argv[2])
    else:
        sys.exit(__doc__)
