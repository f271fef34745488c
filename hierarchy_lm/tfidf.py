"""A baseline without a network: TF-IDF of words, and a linear classifier per label."""

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from hierarchy_lm.batches import SparseTargets
from hierarchy_lm.errors import UserError

LABELS_PER_JOB = 16
logger = logging.getLogger(__name__)

Margins = Iterable[tuple[NDArray[np.int64], NDArray[np.float64]]]
"""Label ids and their margins on all documents to predict, ``(labels, documents)``."""


def check_installed() -> None:
    """Check that there is a scikit-learn.

    Raises:
        UserError: If there is none.
    """
    if find_spec("sklearn") is None:
        raise UserError(
            "hlm tfidf needs scikit-learn, which is not installed; run "
            "pip install 'hierarchy-lm[tfidf]'"
        )


class Labels(NamedTuple):
    """Gold labels of the training documents.

    Attributes:
        documents, labels: ``(P,)`` the pairs of a document and a label of it, each once.
        num_documents: N.
        num_labels: C.
        single: Whether every document has exactly one label.
    """

    documents: NDArray[np.int64]
    labels: NDArray[np.int64]
    num_documents: int
    num_labels: int
    single: bool


class Predicted(NamedTuple):
    """What :meth:`TfidfLinear.fit_predict` found.

    Attributes:
        pairs: Predicted labels of the documents.
        num_features: Words and runs of words.
        num_classifiers: Labels that some training documents have and some have not.
    """

    pairs: SparseTargets
    num_features: int
    num_classifiers: int


class TfidfLinear:
    """TF-IDF features and a linear support vector machine per label, each against all the rest.

    A label is predicted if its margin is positive; where a document has exactly one label, that of
    the largest margin is. A label without a training document is never predicted, one that all of
    them have always is. No classifier is kept: at 30,000 labels and 200,000 features their weights
    are 48 GB, so that each is applied as soon as it is fitted, and dropped.

    Args:
        ngrams: Longest run of words that makes a feature.
        min_df: Documents that a feature must occur in.
        sublinear: Count a word that occurs n times in a document as 1 + log n.
        cost: Price of a mistake in training against that of large weights (liblinear's C).
        jobs: Processes that fit labels side by side; -1 for one per core.

    Raises:
        ValueError: If a number is too small.
    """

    def __init__(
        self,
        ngrams: int = 2,
        min_df: int = 2,
        sublinear: bool = True,
        cost: float = 1.0,
        jobs: int = -1,
    ) -> None:
        if min(ngrams, min_df) < 1 or not 0 < cost < float("inf") or (jobs < 1 and jobs != -1):
            raise ValueError(
                "ngrams and min_df must be at least 1, cost above 0, jobs at least 1 or -1; got "
                f"ngrams {ngrams}, min_df {min_df}, cost {cost}, jobs {jobs}"
            )
        self.ngrams, self.min_df, self.sublinear = ngrams, min_df, sublinear
        self.cost, self.jobs = cost, jobs

    def fit_predict(
        self,
        texts: Sequence[str],
        labels: Labels,
        others: Sequence[str],
        seed: int = 0,
        advance: Callable[[int], None] = lambda labels: None,
    ) -> Predicted:
        """Fit one classifier per label and ask each about other documents.

        Args:
            texts: The training documents.
            labels: Their labels.
            others: The documents to predict.
            seed: Decides the order in which liblinear looks at the training documents.
            advance: Told how many labels more are done, of all.

        Raises:
            UserError: If the texts have no word.
        """
        features, asked = self._features(texts, others)
        order = np.argsort(labels.labels, kind="stable")
        counts = np.bincount(labels.labels, minlength=labels.num_labels)
        positives = np.split(labels.documents[order], np.cumsum(counts)[:-1])
        told = np.flatnonzero((counts > 0) & (counts < labels.num_documents))
        if labels.single and labels.num_labels == 2:
            told = told[1:]  # one classifier tells both apart
        advance(labels.num_labels - len(told))
        margins = self._margins(features, asked, positives, told, seed, advance)
        if labels.single:
            pairs = _largest(margins, len(others), int(counts.argmax()), labels.num_labels == 2)
        else:
            always = np.flatnonzero(counts == labels.num_documents)
            pairs = _positive(margins, len(others), always)
        return Predicted(pairs, features.shape[1], len(told))

    def _features(self, texts: Sequence[str], others: Sequence[str]) -> tuple[Any, Any]:
        """Sparse features of both, weighted by the training documents' frequencies."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectorizer = TfidfVectorizer(
            ngram_range=(1, self.ngrams), min_df=self.min_df, sublinear_tf=self.sublinear
        )
        try:
            return vectorizer.fit_transform(texts), vectorizer.transform(others)
        except ValueError as error:  # an empty vocabulary, and nothing else
            raise UserError(
                f"TF-IDF: no word occurs in {self.min_df} of the {len(texts)} training texts; "
                "lower model.min_df"
            ) from error

    def _margins(
        self,
        features: Any,  # noqa: ANN401  (scikit-learn is an extra)
        asked: Any,  # noqa: ANN401
        positives: Sequence[NDArray[np.int64]],
        told: NDArray[np.int64],
        seed: int,
        advance: Callable[[int], None],
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        from joblib import Parallel, delayed

        pieces = [told[at : at + LABELS_PER_JOB] for at in range(0, len(told), LABELS_PER_JOB)]
        jobs = (
            delayed(_fit_labels)(features, asked, [positives[n] for n in ids], self.cost, seed)
            for ids in pieces
        )
        unfinished = 0
        done = Parallel(n_jobs=self.jobs, return_as="generator")(jobs)
        for ids, (margins, cut_short) in zip(pieces, done, strict=True):
            yield ids, margins
            unfinished += cut_short
            advance(len(ids))
        if unfinished:
            logger.warning(
                "%s of %s classifiers did not converge; lower model.cost", unfinished, len(told)
            )


def _fit_labels(
    features: Any,  # noqa: ANN401
    asked: Any,  # noqa: ANN401
    positives: Sequence[NDArray[np.int64]],
    cost: float,
    seed: int,
) -> tuple[NDArray[np.float64], int]:
    """Margins of some labels, and how many of their classifiers did not converge."""
    from sklearn.svm import LinearSVC

    margins, cut_short = np.empty((len(positives), asked.shape[0])), 0
    for row, documents in zip(margins, positives, strict=True):
        target = np.zeros(features.shape[0], dtype=np.int64)
        target[documents] = 1
        classifier = LinearSVC(C=cost, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it did not converge, which is counted
            classifier.fit(features, target)
        row[:] = classifier.decision_function(asked)
        cut_short += int(classifier.n_iter_ >= classifier.max_iter)
    return margins, cut_short


def _positive(margins: Margins, num_documents: int, always: NDArray[np.int64]) -> SparseTargets:
    """All labels with a positive margin, and those that every training document has."""
    labels = [np.repeat(always, num_documents)]
    documents = [np.tile(np.arange(num_documents), len(always))]
    for ids, rows in margins:
        which, where = np.nonzero(rows > 0)
        labels.append(ids[which])
        documents.append(where)
    return _sorted(np.concatenate(documents), np.concatenate(labels))


def _largest(margins: Margins, num_documents: int, frequent: int, two: bool) -> SparseTargets:
    """The label of the largest margin; the most frequent one where there is only one."""
    best = np.full(num_documents, -np.inf)
    labels = np.full(num_documents, frequent)
    for ids, rows in margins:
        if two:
            labels = (rows[0] > 0).astype(np.int64)
            continue
        top = rows.max(axis=0)
        labels = np.where(top > best, ids[rows.argmax(axis=0)], labels)
        best = np.maximum(best, top)
    return _sorted(np.arange(num_documents), labels)


def _sorted(documents: NDArray[np.int64], labels: NDArray[np.int64]) -> SparseTargets:
    order = np.lexsort((labels, documents))
    return SparseTargets(torch.from_numpy(documents[order]), torch.from_numpy(labels[order]))
