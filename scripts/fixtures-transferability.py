"""Reference values for test/native/transferability.test.ts, by numpy and scikit-learn.

Writes test/fixtures/transferability.json.gz. Everything is computed in float64 of float32 features:

- LogME by the fixed-point iteration of its authors' code, over a singular value decomposition. The determinant in the
  evidence is that of the whole alpha I + beta F'F, [d, d], as in the paper; the authors' code has the product of min(n, d)
  eigenvalues, which is the same where n >= d and F has full rank (checked here).
- H-score by the two covariances, inverted on the directions in which the features vary; with shrinkage by
  sklearn.covariance.LedoitWolf.
- Ridge by sklearn.linear_model.Ridge.

    python scripts/fixtures-transferability.py
"""

import base64
import gzip
import json
from pathlib import Path

import numpy
import sklearn
from sklearn.covariance import LedoitWolf
from sklearn.linear_model import Ridge

FIXTURES = Path(__file__).resolve().parent.parent / "test" / "fixtures"
LAMBDAS = [0.001, 1.0, 250.0]


def class_evidence(features, y):
    n, d = features.shape
    left, s, _ = numpy.linalg.svd(features, full_matrices=False)
    s2 = s**2
    x2 = (left.T @ y) ** 2
    residue = (y**2).sum() - x2.sum()
    alpha = beta = 1.0
    for _ in range(11):
        t = alpha / beta
        gamma = (s2 / (s2 + t)).sum()
        length = (s2 * x2 / (t + s2) ** 2).sum()
        misfit = (x2 / (1 + s2 / t) ** 2).sum() + residue
        alpha = gamma / (length + 1e-5)
        beta = (n - gamma) / (misfit + 1e-5)
        if abs(alpha / beta - t) / t <= 1e-3:
            break
    _, log_determinant = numpy.linalg.slogdet(alpha * numpy.eye(d) + beta * features.T @ features)
    if n > d and numpy.linalg.matrix_rank(features) == d:
        assert abs(numpy.log(alpha + beta * s2).sum() - log_determinant) < 1e-8 * abs(log_determinant)
    log_evidence = (
        d / 2 * numpy.log(alpha)
        + n / 2 * numpy.log(beta)
        - log_determinant / 2
        - beta / 2 * misfit
        - alpha / 2 * length
        - n / 2 * numpy.log(2 * numpy.pi)
    )
    return log_evidence / n


def log_me(features, labels, classes):
    return numpy.mean([class_evidence(features, (labels == c).astype(float)) for c in range(classes)])


def class_means(features, labels):
    means = numpy.zeros_like(features)
    for c in numpy.unique(labels):
        means[labels == c] = features[labels == c].mean(axis=0)
    return means


def trace_of_quotient(covariance, between, samples):
    covariance, between = numpy.atleast_2d(covariance), numpy.atleast_2d(between)
    rounding = max(samples, len(covariance)) * numpy.finfo(float).eps
    return numpy.trace(numpy.linalg.pinv(covariance, rcond=rounding, hermitian=True) @ between)


def h_score(features, labels):
    between = numpy.cov(class_means(features, labels), rowvar=False)
    return trace_of_quotient(numpy.cov(features, rowvar=False), between, len(features))


def shrunk_h_score(features, labels):
    centred = features - features.mean(axis=0)
    estimate = LedoitWolf().fit(centred)
    between = numpy.cov(class_means(centred, labels), rowvar=False)
    return (1 - estimate.shrinkage_) * trace_of_quotient(estimate.covariance_, between, len(features))


def ridge(features, targets, strength):
    model = Ridge(alpha=strength, solver="svd").fit(features, targets)
    weight = model.coef_.reshape(targets.shape[1], features.shape[1])
    return {"lambda": strength, "weight": encode(weight), "bias": encode(numpy.atleast_1d(model.intercept_))}


def encode(values):
    """float64, little-endian."""
    return base64.b64encode(numpy.ascontiguousarray(values, dtype="<f8").tobytes()).decode()


def sample(random, n, d, classes, signal):
    """Features of several scales around class means, with an offset, and labels of unequal frequency."""
    labels = numpy.minimum(random.integers(0, classes, n), random.integers(0, classes, n))
    labels[:classes] = numpy.arange(classes)
    scales = random.uniform(0.1, 3, d)
    noise = random.normal(size=(n, d)) @ (numpy.eye(d) + 0.3 * random.normal(size=(d, d)))
    features = (signal * random.normal(size=(classes, d))[labels] + noise + 2) * scales
    return features.astype(numpy.float32), labels


def make_cases(random):
    yield "more samples than features", *sample(random, 150, 16, 4, 1.0), 4
    yield "no signal", *sample(random, 90, 12, 3, 0.0), 3
    yield "as many samples as features", *sample(random, 24, 24, 3, 0.5), 3
    yield "fewer samples than features", *sample(random, 20, 60, 3, 0.7), 3
    yield "far fewer samples than features", *sample(random, 7, 300, 2, 0.5), 2
    yield "two samples", *sample(random, 2, 5, 2, 1.0), 2
    yield "one feature", *sample(random, 40, 1, 2, 1.0), 2
    features, labels = sample(random, 60, 10, 4, 1.0)
    labels[labels == 3] = 0
    labels[17] = 3
    yield "a class with one sample", features, labels, 4
    yield "a class without a sample", features, labels, 6
    yield "one class", features, numpy.zeros_like(labels), 1
    rectified = numpy.maximum(sample(random, 80, 20, 5, 1.5)[0] - 3, 0)
    rectified[:, 4] = 0
    yield "sparse features, and one that is always 0", rectified, sample(random, 80, 20, 5, 1.5)[1], 5
    features, labels = sample(random, 70, 9, 3, 1.0)
    features[:, 2] = 2.5
    features[:, 5] = -0.1
    features[:, 7] = features[:, 3]
    yield "constant and repeated features", features, labels, 3
    features, labels = sample(random, 12, 30, 3, 1.0)
    features[:, 10:20] = 0.3
    features[5] = features[6]
    yield "constant features and repeated samples, wide", features, labels, 3
    yield "all features constant", numpy.full((30, 6), 1.7, numpy.float32), numpy.arange(30) % 3, 3


def main():
    random = numpy.random.default_rng(7)
    cases = []
    for name, features, labels, classes in make_cases(random):
        exact = features.astype(float)
        one_hot = numpy.eye(classes)[labels]
        targets = random.normal(size=(len(labels), 2)) + exact[:, :1]
        cases.append(
            {
                "name": name,
                "shape": list(features.shape),
                "features": base64.b64encode(numpy.ascontiguousarray(features, dtype="<f4").tobytes()).decode(),
                "labels": [int(label) for label in labels],
                "classes": classes,
                "logME": log_me(exact, labels, classes),
                "hScore": h_score(exact, labels),
                "shrunkHScore": shrunk_h_score(exact, labels),
                "oneHot": [ridge(exact, one_hot, strength) for strength in LAMBDAS],
                "targets": encode(targets),
                "given": [ridge(exact, targets, strength) for strength in LAMBDAS],
            }
        )
        print(name, *(f"{cases[-1][key]:.6g}" for key in ("logME", "hScore", "shrunkHScore")))
    written = {"numpy": numpy.__version__, "sklearn": sklearn.__version__, "cases": cases}
    text = json.dumps(written, separators=(",", ":"))
    (FIXTURES / "transferability.json.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


if __name__ == "__main__":
    main()
