"""Reference values for test/probe-classifiers.test.ts, by scikit-learn.

Writes test/fixtures/probes.json.gz. Needs numpy and scikit-learn:

    python scripts/fixtures-probes.py
"""

import gzip
import json
from pathlib import Path

import numpy
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.preprocessing import StandardScaler

FIXTURES = Path(__file__).resolve().parent.parent / "test" / "fixtures"
CLASSES = 3
FEATURES = 10


def images(random, count):
    """Features in whole 64ths, so that float32 holds them exactly; the last one is always the same."""
    labels = random.choice(CLASSES, count, p=[0.6, 0.3, 0.1])
    labels[:CLASSES] = range(CLASSES)
    means = numpy.linspace(-1, 1, CLASSES * FEATURES).reshape(CLASSES, FEATURES)[:, ::-1]
    scales = numpy.linspace(0.2, 5, FEATURES)
    values = 20 + (random.normal(size=(count, FEATURES)) * 1.5 + means[labels]) * scales
    values[:, -1] = 7
    return numpy.round(values * 64) / 64, labels


def main():
    random = numpy.random.default_rng(0)
    train, labels = images(random, 60)
    val, truth = images(random, 40)
    scaler = StandardScaler().fit(train)
    scaled, held = scaler.transform(train), scaler.transform(val)

    logistic = LogisticRegression(C=0.3, tol=1e-10, max_iter=10_000).fit(scaled, labels)
    ridge = Ridge(alpha=5.0).fit(scaled, numpy.eye(CLASSES)[labels])
    neighbours = KNeighborsClassifier(7, weights="distance").fit(train, labels)
    # Several labels an image, the last of them noise; drawn last, so that what is above stays as it was.
    several = [numpy.column_stack([own == 0, own != 2, random.random(len(own)) < 0.3]).astype(int) for own in (labels, truth)]
    each = [LogisticRegression(C=0.3, tol=1e-10, max_iter=10_000).fit(scaled, column) for column in several[0].T]
    reference = {
        "train": {"features": train.ravel().tolist(), "labels": labels.tolist()},
        "val": {"features": val.ravel().tolist(), "labels": truth.tolist()},
        "features": FEATURES,
        "classes": CLASSES,
        "logistic": {"C": 0.3, "probabilities": logistic.predict_proba(held).ravel().tolist()},
        "labels": {
            "C": 0.3,
            "targets": several[0].ravel().tolist(),
            "logits": numpy.column_stack([one.decision_function(held) for one in each]).ravel().tolist(),
        },
        "ridge": {"lambda": 5.0, "scores": ridge.predict(held).ravel().tolist()},
        "neighbours": {"k": 7, "shares": neighbours.predict_proba(val).ravel().tolist()},
        "nearestMean": NearestCentroid().fit(train, labels).predict(val).tolist(),
    }
    text = json.dumps(reference, separators=(",", ":")).encode()
    (FIXTURES / "probes.json.gz").write_bytes(gzip.compress(text, mtime=0))


if __name__ == "__main__":
    main()
