"""Registers, transitions, aliases, tags, searches, loads and downloads models with MLflow's own
client. Each line that it reads is a JSON list: what to do, and with what; it answers each with
a line of JSON."""

import contextlib
import json
import os
import sys
import tempfile

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

client = MlflowClient()


def model(weights):
    """A directory with a model of nothing dangerous."""
    top = tempfile.mkdtemp()
    os.mkdir(os.path.join(top, "data"))
    with open(os.path.join(top, "MLmodel"), "w") as f:
        f.write("flavors:\n  python_function:\n    loader_module: none\n")
    with open(os.path.join(top, "data", "weights.json"), "w") as f:
        f.write(weights)
    return top


def told(do):
    """What a server says that refuses."""
    try:
        do()
    except MlflowException as e:
        return {"code": e.error_code, "message": e.message}
    return {}


def register(name, weights, more=""):
    with mlflow.start_run() as run:
        mlflow.log_params({"depth": 3, "seed": 7})
        mlflow.log_metric("auc", 0.97)
        mlflow.set_tag("team", "risk")
        top = model(weights)
        if more:
            with open(os.path.join(top, "model.pkl"), "wb") as f:
                f.write(more.encode())
        mlflow.log_artifacts(top, "model")
    failed = told(lambda: mlflow.register_model(f"runs:/{run.info.run_id}/model", name, tags={"t": "1"}))
    version = client.search_model_versions(f"name='{name}'")[0]
    return {"version": version.version, "status": version.status, "run": version.run_id, "stage": version.current_stage, "failed": failed.get("message", "")}


def directory(name, risk, top, root):
    """Logs what lies in a directory, and registers it: trained on the dataset with the root."""
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name, {"pavise.risk": risk})
    with mlflow.start_run() as run:
        mlflow.log_params({"hidden": 12, "epochs": 20})
        mlflow.log_artifacts(top, "model")
    made = mlflow.register_model(f"runs:/{run.info.run_id}/model", name, tags={"pavise.dataset.payments": root})
    version = client.get_model_version(name, made.version)
    return {"version": version.version, "status": version.status, "run": version.run_id}


def path(name, source):
    version = client.get_model_version(name, mlflow.register_model(source, name).version)
    return {"version": version.version, "status": version.status}


def stage(name, version, to):
    return told(lambda: client.transition_model_version_stage(name, version, to))


def alias(name, to, version):
    return told(lambda: client.set_registered_model_alias(name, to, version))


def words(name, version):
    client.update_registered_model(name, "fraud with cards")
    client.update_model_version(name, version, "the first")
    client.set_registered_model_tag(name, "team", "risk")
    client.set_model_version_tag(name, version, "k", "v")
    client.set_model_version_tag(name, version, "gone", "v")
    client.delete_model_version_tag(name, version, "gone")
    m, v = client.get_registered_model(name), client.get_model_version(name, version)
    return {
        "model": [m.description, m.tags["team"]],
        "version": [v.description, v.tags],
        "found": [x.name for x in client.search_registered_models("name LIKE 'fra%' AND tags.team = 'risk'", order_by=["name DESC"])],
        "none": len(client.search_registered_models("tags.team = 'sales'")),
        "versions": [x.version for x in client.search_model_versions(f"name = '{name}' AND tags.k = 'v'")],
        "latest": [x.version for x in client.get_latest_versions(name)],
        "nobody": told(lambda: client.get_registered_model("nobody"))["code"],
        "twice": told(lambda: client.create_registered_model(name))["code"],
        "renamed": told(lambda: client.rename_registered_model(name, "other"))["code"],
    }


def load(uri, file):
    top = mlflow.artifacts.download_artifacts(uri)
    with open(os.path.join(top, file)) as f:
        return {"text": f.read(), "files": sorted(os.listdir(top))}


def run(run_id):
    r = client.get_run(run_id)
    return {"params": r.data.params, "metrics": r.data.metrics, "team": r.data.tags["team"], "files": [f.path for f in client.list_artifacts(run_id, "model")]}


def unalias(name, to):
    return told(lambda: client.delete_registered_model_alias(name, to))


def experiment(name):
    mlflow.set_experiment(name)
    with mlflow.start_run() as r:
        pass
    return {"experiment": client.get_experiment(r.info.experiment_id).name}


def big(size):
    """An artifact of several pieces there and back."""
    with tempfile.TemporaryDirectory() as top:
        with open(os.path.join(top, "big.bin"), "wb") as f:
            f.write(b"weights!" * (int(size) // 8))
        with mlflow.start_run() as r:
            mlflow.log_artifact(os.path.join(top, "big.bin"))
    back = mlflow.artifacts.download_artifacts(f"runs:/{r.info.run_id}/big.bin")
    return {"size": os.path.getsize(back)}


def sklearn(name):
    """Logs a model of scikit-learn as MLflow 3 does, and registers it with the same call."""
    import mlflow.sklearn
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression().fit([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1])
    with mlflow.start_run() as r:
        mlflow.log_params({"depth": 3})
        for step in range(3):
            mlflow.log_metric("auc", 0.5 + step / 10, step=step)
        info = mlflow.sklearn.log_model(fitted, name="scorer", step=2, registered_model_name=name)
    logged = client.get_logged_model(info.model_id)
    back = mlflow.sklearn.load_model(info.model_uri)
    version = client.search_model_versions(f"name='{name}'")[0]
    return {
        "id": info.model_id, "run": r.info.run_id, "logged": str(logged.status), "params": logged.params, "metrics": [[m.key, m.value] for m in logged.metrics],
        "version": version.version, "status": version.status, "source": version.source, "from": version.run_id, "tags": logged.tags.get("mlflow.modelVersions"),
        "same": [int(x) for x in back.predict([[0.0], [3.0]])], "outputs": [o.model_id for o in client.get_run(r.info.run_id).outputs.model_outputs],
        "history": [[m.step, m.value] for m in client.get_metric_history(r.info.run_id, "auc")],
        "files": sorted(f.path for f in client.list_artifacts(r.info.run_id, "scorer")),
    }


def pyfunc(name):
    """Logs a model of Python files, and registers it afterwards by its id, and by its run."""
    import mlflow.pyfunc

    with tempfile.TemporaryDirectory() as top:
        with open(os.path.join(top, "adder.py"), "w") as f:
            f.write(
                "import mlflow.pyfunc\n\n\nclass Adder(mlflow.pyfunc.PythonModel):\n"
                "    def predict(self, context, model_input):\n        return [x + 1 for x in model_input]\n\n\n"
                "mlflow.models.set_model(Adder())\n"
            )
        with mlflow.start_run() as r:
            info = mlflow.pyfunc.log_model(name="adder", python_model=os.path.join(top, "adder.py"), pip_requirements=["mlflow-skinny"])
    client.set_logged_model_tags(info.model_id, {"team": "risk"})
    by_id = mlflow.register_model(f"models:/{info.model_id}", name)
    by_run = mlflow.register_model(f"runs:/{r.info.run_id}/adder", name)
    said = mlflow.pyfunc.load_model(f"models:/{name}/{by_id.version}").predict([1, 2])
    within = [r.info.experiment_id]
    other = client.create_logged_model(within[0], name="empty")
    early = told(lambda: client.create_model_version(name, f"models:/{other.model_id}", model_id=other.model_id))
    client.delete_logged_model_tag(info.model_id, "team")
    client.delete_logged_model(other.model_id)
    return {
        "versions": [by_id.version, by_run.version], "statuses": [client.get_model_version(name, v.version).status for v in (by_id, by_run)], "said": said, "early": early.get("message", ""), "gone": told(lambda: client.get_logged_model(other.model_id)).get("code"),
        "found": [m.name for m in client.search_logged_models(within, filter_string=f"model_id = '{info.model_id}'")],
        "runs": [x.info.run_id == r.info.run_id for x in client.search_runs(within, order_by=["attributes.start_time DESC"], max_results=1)],
        "frame": list(mlflow.search_runs(within, "metrics.auc > 0.65 AND params.depth = '3'")["metrics.auc"]),
    }


for line in sys.stdin:
    what, *how = json.loads(line)
    with contextlib.redirect_stdout(sys.stderr):  # the client talks to people
        answer = globals()[what](*how)
    print(json.dumps(answer), flush=True)
