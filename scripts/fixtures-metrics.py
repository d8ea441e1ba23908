"""Reference values for the tests of metrics and schedules, by scikit-learn, scipy and PyTorch.

Writes metrics.json.gz, metric-sets.json.gz and schedules.json.gz of test/fixtures. Needs torch, numpy and scikit-learn:

    python scripts/fixtures-metrics.py
"""

import gzip
import json
import warnings
from pathlib import Path

import numpy
import torch
from metric_sets import areas, bootstrap_cases, curve_cases, defined, multi_label_case, regression_case
from scipy.special import log_softmax, softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    brier_score_loss,
    cohen_kappa_score,
    confusion_matrix,
    log_loss,
    matthews_corrcoef,
    precision_recall_fscore_support,
    roc_auc_score,
    top_k_accuracy_score,
)
from torch.optim import lr_scheduler

FIXTURES = Path(__file__).resolve().parent.parent / "test" / "fixtures"
# Logits are whole eighths, so that float32 holds them exactly and ties are frequent.
SCALE = 8


def write(name, value):
    text = json.dumps(value, separators=(",", ":")).encode()
    (FIXTURES / name).write_bytes(gzip.compress(text, mtime=0))


def logits_and_labels(random, case):
    """One case; the kinds take turns."""
    classes = int(random.integers(2, 21))
    count = 1 if case % 10 == 0 else int(random.integers(2, 90))
    labels = random.integers(0, classes, count)
    spread = 2 if case % 3 == 0 else 40
    eighths = random.integers(-spread, spread + 1, (count, classes))
    rows = numpy.arange(count)
    kind = case % 8
    if kind == 1:  # some classes neither true nor predicted
        absent = random.choice(classes, max(1, classes // 3), replace=False)
        present = numpy.setdiff1d(numpy.arange(classes), absent)
        labels = random.choice(present, count)
        eighths[:, absent] = -99
    if kind == 2:  # all wrong
        eighths[rows, labels] = -99
    if kind == 3:  # all right
        eighths[rows, labels] = 99
    if kind == 4:  # all logits equal
        eighths[:] = 0
    if kind == 5:  # mostly right
        eighths[rows, labels] += spread
    if kind == 6:  # one true class only
        labels[:] = labels[0]
    return eighths, labels


def top_k(labels, scores, k):
    """Of equal scores the first classes count. scikit-learn takes the last, so the classes are turned round."""
    classes = scores.shape[1]
    turned_labels, turned_scores = classes - 1 - labels, scores[:, ::-1]
    if classes == 2:  # scikit-learn wants one column here
        if k >= 2:
            return 1.0
        return float(accuracy_score(labels, scores.argmax(axis=1)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # k >= classes is 1 by definition; it warns
        return float(top_k_accuracy_score(turned_labels, turned_scores, k=k, labels=range(classes)))


def calibration(labels, predicted, probabilities, logits):
    """Errors of 15 bins, the reliability curve of those that are not empty, Brier score and log-likelihood."""
    confidence = probabilities.max(axis=1)
    right = predicted == labels
    accuracies, confidences = calibration_curve(right, confidence, n_bins=15, strategy="uniform")
    bins = numpy.searchsorted(numpy.linspace(0, 1, 16)[1:-1], confidence)
    counts = numpy.unique(bins, return_counts=True)[1]
    gaps = numpy.abs(accuracies - confidences)
    classes = range(probabilities.shape[1])
    # Of several classes it is the sum of the binary ones; scikit-learn refuses rows whose sum float32 has rounded.
    ones = [1] if len(classes) == 2 else classes
    brier = sum(brier_score_loss(labels == index, probabilities[:, index], pos_label=True) for index in ones)
    nll = -log_softmax(logits, axis=1)[numpy.arange(len(labels)), labels].mean()
    assert abs(nll - log_loss(labels, softmax(logits, axis=1), labels=classes)) < 1e-9
    return {
        "ece": float((counts * gaps).sum() / counts.sum()),
        "mce": float(gaps.max()),
        "brier": float(brier),
        "nll": float(nll),
        "bins": [[int(c), float(p), float(a)] for c, p, a in zip(counts, confidences, accuracies)],
    }


def scores_case(labels, predicted, scores):
    """What needs probabilities, and agreement. Probabilities are float32, as the meter keeps them."""
    logits = scores.astype(numpy.float64)
    probabilities = softmax(logits, axis=1).astype(numpy.float32).astype(numpy.float64)
    classes = probabilities.shape[1]
    per_class = [areas(labels == index, probabilities[:, index]) for index in range(classes)]
    roc, precision_recall = (list(values) for values in zip(*per_class))
    if classes == 2:
        overall = [roc[1], precision_recall[1]]
    else:
        overall = [
            float(numpy.mean(known)) if (known := [value for value in values if value is not None]) else None
            for values in (roc, precision_recall)
        ]
    if classes > 2 and len(set(labels)) == classes:
        rows = probabilities / probabilities.sum(axis=1, keepdims=True)
        assert abs(overall[0] - roc_auc_score(labels, rows, multi_class="ovr", average="macro")) < 1e-6
    return {
        "balancedAccuracy": float(balanced_accuracy_score(labels, predicted)),
        "mcc": float(matthews_corrcoef(labels, predicted)),
        "kappa": defined(cohen_kappa_score(labels, predicted, labels=range(classes))),
        "rocAuc": overall[0],
        "prAuc": overall[1],
        "rocAucs": roc,
        "prAucs": precision_recall,
        "calibration": calibration(labels, predicted, probabilities, logits),
    }


def metrics_case(random, case):
    eighths, labels = logits_and_labels(random, case)
    scores = eighths.astype(numpy.float32) / SCALE
    classes = scores.shape[1]
    predicted = scores.argmax(axis=1)
    assert (predicted == torch.from_numpy(scores).argmax(dim=1).numpy()).all()

    def averaged(average):
        values = precision_recall_fscore_support(
            labels, predicted, labels=range(classes), average=average, zero_division=0
        )
        return [numpy.asarray(value).tolist() for value in values[: 4 if average is None else 3]]

    k = min(5, classes)
    other = int(random.integers(1, classes + 1))
    return {
        "classes": classes,
        "eighths": eighths.ravel().tolist(),
        "labels": labels.tolist(),
        "accuracy": float(accuracy_score(labels, predicted)),
        "topK": [[k, top_k(labels, scores, k)], [other, top_k(labels, scores, other)]],
        "perClass": averaged(None),
        "macro": averaged("macro"),
        "micro": averaged("micro"),
        "weighted": averaged("weighted"),
        "confusionMatrix": confusion_matrix(labels, predicted, labels=range(classes)).tolist(),
        **scores_case(labels, predicted, scores),
    }


def factors(make, steps):
    """Learning rate of each step for a base of 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimizer)
    values = [optimizer.param_groups[0]["lr"]]
    for _ in range(steps - 1):  # OneCycleLR refuses a step after its last
        optimizer.step()
        scheduler.step()
        values.append(optimizer.param_groups[0]["lr"])
    return values


def linear_then(steps, after):
    """Linear warm-up over so many steps, then another schedule."""

    def make(optimizer):
        rise = lr_scheduler.LinearLR(optimizer, start_factor=1 / (steps + 1), total_iters=steps)
        return lr_scheduler.SequentialLR(optimizer, [rise, after(optimizer)], milestones=[steps])

    return make


def plateau(history, mode, **options):
    """Factor after each epoch, with the metric's history up to it."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, mode=mode, eps=0, **options)
    values = []
    for metric in history:
        scheduler.step(metric)
        values.append(optimizer.param_groups[0]["lr"])
    return values


def schedule_cases(random):
    cases = []

    def add(options, total, steps_per_epoch, values):
        cases.append(
            {"options": options, "totalSteps": total, "stepsPerEpoch": steps_per_epoch, "factors": values}
        )

    for total in (1, 7, 100):
        add({"kind": "cosine", "warmup": 0}, total, 1,
            factors(lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=total), total))
    for total, warm in ((100, 10), (37, 5)):
        values = factors(linear_then(warm, lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=total - warm)), total)
        add({"kind": "cosine", "warmup": warm / total}, total, 1, values)
        add({"kind": "cosine", "warmupEpochs": 1}, total, warm, values)
        values = factors(linear_then(warm, lambda o: lr_scheduler.ConstantLR(o, factor=1)), total)
        add({"kind": "constant", "warmup": warm / total}, total, 1, values)
    for total, options, ours in (
        (10, {}, {}),
        (100, {}, {}),
        (83, {"pct_start": 0.1, "div_factor": 10, "final_div_factor": 100},
         {"warmup": 0.1, "divFactor": 10, "finalDivFactor": 100}),
        (50, {"pct_start": 0.9}, {"warmup": 0.9}),
    ):
        values = factors(
            lambda o: lr_scheduler.OneCycleLR(o, max_lr=1.0, total_steps=total, cycle_momentum=False, **options), total
        )
        add({"kind": "onecycle", **ours}, total, 1, values)
    for every, gamma in ((3, 0.1), (1, 0.5), (30, 0.1)):
        by_epoch = factors(lambda o: lr_scheduler.StepLR(o, step_size=every, gamma=gamma), 12)
        add({"kind": "step", "every": every, "gamma": gamma}, 48, 4,
            [value for value in by_epoch for _ in range(4)])

    plateaus = []
    for case in range(20):
        mode = "min" if case % 2 == 0 else "max"
        history = numpy.round(random.normal(1, 0.2, 40), 2).tolist()
        options = {
            "patience": int(random.integers(0, 5)),
            "factor": float(random.choice([0.1, 0.5])),
            "threshold": float(random.choice([1e-4, 0.05])),
            "cooldown": int(random.integers(0, 3)),
        }
        least = float(random.choice([0, 0.01]))
        plateaus.append({
            "options": {"kind": "plateau", "metric": "valLoss" if mode == "min" else "valAccuracy",
                        "minFactor": least, **options},
            "history": history,
            "factors": plateau(history, mode, min_lr=least, **options),
        })
    return {"steps": cases, "plateaus": plateaus}


def main():
    warnings.simplefilter("ignore")  # of classes that are absent, in sets of predictions made to lack them
    random = numpy.random.default_rng(0)
    FIXTURES.mkdir(parents=True, exist_ok=True)
    write("metrics.json.gz", {"scale": SCALE, "cases": [metrics_case(random, case) for case in range(200)]})
    write("schedules.json.gz", schedule_cases(random))
    random = numpy.random.default_rng(1)
    sets = {
        "scale": SCALE,
        "curves": curve_cases(random),
        "multiLabel": [multi_label_case(random, case, SCALE) for case in range(60)],
        "regression": [regression_case(random, case) for case in range(60)],
        "bootstrap": bootstrap_cases(random),
    }
    write("metric-sets.json.gz", sets)


main()
