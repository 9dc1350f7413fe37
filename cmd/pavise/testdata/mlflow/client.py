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


for line in sys.stdin:
    what, *how = json.loads(line)
    with contextlib.redirect_stdout(sys.stderr):  # the client talks to people
        answer = globals()[what](*how)
    print(json.dumps(answer), flush=True)
