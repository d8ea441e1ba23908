"""Reference values of curves, thresholds, multi-label and regression metrics and bootstrap intervals, for
fixtures-metrics.py. What is undefined is None."""

import numpy
from scipy.special import expit
from scipy.stats import bootstrap, pearsonr, spearmanr
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    hamming_loss,
    mean_absolute_error,
    median_absolute_error,
    precision_recall_curve,
    precision_recall_fscore_support,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)


def defined(value):
    return float(value) if numpy.isfinite(value) else None


def areas(truth, scores):
    """ROC-AUC and average precision. scikit-learn gives NaN and 0 where they are undefined."""
    truth = numpy.asarray(truth)
    roc = roc_auc_score(truth, scores) if 0 < truth.sum() < len(truth) else numpy.nan
    precision_recall = average_precision_score(truth, scores) if truth.any() else numpy.nan
    return defined(roc), defined(precision_recall)


def threshold_of(truth, scores, wanted, least):
    """The best point of scikit-learn's curve; of equal ones that with the highest threshold."""
    precisions, recalls, thresholds = precision_recall_curve(truth, scores)
    points = [
        {"threshold": float(t), "recall": float(r), "precision": float(p)}
        for p, r, t in zip(precisions, recalls, thresholds)
    ]
    other = "precision" if wanted == "recall" else "recall"
    reaching = [point for point in points if point[wanted] >= least]
    order = (other, wanted) if reaching else (wanted, other)
    best = max(reaching or points, key=lambda point: (point[order[0]], point[order[1]], point["threshold"]))
    return {"wanted": {wanted: least}, **best, "reached": bool(reaching)}


def curve_cases(random):
    """Scores of any sign, whole quarters so that many are equal."""
    cases = []
    for case in range(80):
        count = 1 if case % 16 == 0 else int(random.integers(2, 120))
        scores = random.integers(-20, 21, count) / 4
        truth = random.random(count) < 0.4
        kind = case % 8
        if kind == 1:  # constant
            scores[:] = 0.5
        if kind == 2:  # perfect
            scores[truth] += 20
        if kind == 3:  # inverted
            scores[truth] -= 20
        if kind == 4:  # no positive
            truth[:] = False
        if kind == 5:  # no negative
            truth[:] = True
        if kind == 6:  # hardly any ties
            scores = random.normal(0, 1, count).astype(numpy.float32).astype(numpy.float64)
        if kind == 7:  # both zeros, which are equal
            scores = random.choice([0.0, -0.0, 1.0], count)
        roc, precision_recall = areas(truth, scores)
        wanted = [("recall", 0.9), ("recall", 1.0), ("precision", 0.75), ("precision", 1.0)]
        cases.append({
            "scores": scores.tolist(),
            "truth": truth.astype(int).tolist(),
            "rocAuc": roc,
            "prAuc": precision_recall,
            "thresholds": [threshold_of(truth, scores, *each) for each in wanted] if truth.any() else [],
        })
    return cases


def multi_label_case(random, case, scale):
    labels = int(random.integers(1, 9))
    count = 1 if case % 12 == 0 else int(random.integers(2, 60))
    eighths = random.integers(-30, 31, (count, labels))
    truth = (random.random((count, labels)) < 0.35).astype(int)
    kind = case % 6
    if kind == 1:  # labels that no sample, or every sample, has
        truth[:, 0] = 0
        truth[:, -1] = 1
    if kind == 2:  # all right
        eighths = numpy.where(truth == 1, 40, -40)
    if kind == 3:  # nothing predicted
        eighths = -numpy.abs(eighths) - 1
    if kind == 4:  # all at the threshold
        eighths[:] = 0
    probabilities = expit(eighths / scale).astype(numpy.float32).astype(numpy.float64)
    threshold = [0.5, 0.3, 0.9][case % 3]
    predicted = (probabilities >= threshold).astype(int)

    def averaged(average):
        if labels == 1:  # scikit-learn takes one column for a binary problem
            return single(average)
        values = precision_recall_fscore_support(truth, predicted, average=average, zero_division=0)
        return [numpy.asarray(value).tolist() for value in values[: 4 if average is None else 3]]

    def single(average):
        """Of one label: a second that is neither true nor predicted changes neither micro nor samples averages."""
        wide = [numpy.hstack([part, numpy.zeros_like(part)]) for part in (truth, predicted)]
        if average in ("micro", "samples"):
            return [float(v) for v in precision_recall_fscore_support(*wide, average=average, zero_division=0)[:3]]
        values = precision_recall_fscore_support(*wide, average=None, zero_division=0)
        return [float(v[0]) if average == "macro" else [v[0].item()] for v in values[: 4 if average is None else 3]]

    per_label = [areas(truth[:, index], probabilities[:, index]) for index in range(labels)]
    roc, precision_recall = (list(values) for values in zip(*per_label))

    def mean(values):
        known = [value for value in values if value is not None]
        return float(numpy.mean(known)) if known else None

    return {
        "labels": labels,
        "threshold": threshold,
        "eighths": eighths.ravel().tolist(),
        "truth": truth.ravel().tolist(),
        "subsetAccuracy": float(accuracy_score(truth, predicted)),
        "hammingLoss": float(hamming_loss(truth, predicted)),
        "micro": averaged("micro"),
        "macro": averaged("macro"),
        "samples": averaged("samples"),
        "perLabel": averaged(None),
        "rocAucs": roc,
        "prAucs": precision_recall,
        "rocAuc": mean(roc),
        "meanAveragePrecision": mean(precision_recall),
    }


def regression_case(random, case):
    count = 1 if case % 10 == 0 else int(random.integers(2, 80))
    truth = random.normal(0, 3, count)
    predicted = truth + random.normal(0, 1, count)
    kind = case % 8
    if kind == 1:  # many ties
        truth, predicted = numpy.round(truth), numpy.round(predicted)
    if kind == 2:  # exact
        predicted = truth.copy()
    if kind == 3:  # equal targets
        truth[:] = 2.5
    if kind == 4:  # equal predictions
        predicted[:] = 2.5
    if kind == 5:  # both equal, and exact
        truth[:] = 2.5
        predicted[:] = 2.5
    if kind == 6:  # no relation, far from zero
        truth, predicted = 1e6 + truth, 1e6 + random.normal(0, 3, count)
    several = count > 1
    return {
        "truth": truth.tolist(),
        "predicted": predicted.tolist(),
        "mae": float(mean_absolute_error(truth, predicted)),
        "rmse": float(root_mean_squared_error(truth, predicted)),
        "medianAbsoluteError": float(median_absolute_error(truth, predicted)),
        "r2": defined(r2_score(truth, predicted)) if several else None,
        "pearson": defined(pearsonr(truth, predicted).statistic) if several else None,
        "spearman": defined(spearmanr(truth, predicted).statistic) if several else None,
    }


def bootstrap_cases(random):
    """Percentile intervals of scipy, of thousands of resamples: ours, of other random numbers, come near."""
    labels = random.integers(0, 3, 200)
    first = numpy.where(random.random(200) < 0.8, labels, random.integers(0, 3, 200))
    second = numpy.where(random.random(200) < 0.7, labels, random.integers(0, 3, 200))

    def accuracy(truth, guess):
        return accuracy_score(truth, guess)

    def macro_f1(truth, guess):
        return f1_score(truth, guess, labels=range(3), average="macro", zero_division=0)

    def interval(statistic, data, resamples):
        result = bootstrap(data, statistic, paired=True, vectorized=False, method="percentile",
                           n_resamples=resamples, rng=numpy.random.default_rng(2))
        return [float(result.confidence_interval.low), float(result.confidence_interval.high)]

    return {
        "labels": labels.tolist(),
        "first": first.tolist(),
        "second": second.tolist(),
        "accuracy": interval(accuracy, (labels, first), 5000),
        "macroF1": interval(macro_f1, (labels, first), 2000),
        "difference": interval(lambda t, a, b: accuracy(t, a) - accuracy(t, b), (labels, first, second), 5000),
    }
