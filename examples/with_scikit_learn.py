"""minifer's networks among scikit-learn's tools: cross-validation, a grid of settings, and SMOTE in a pipeline.

python examples/with_scikit_learn.py        about two minutes on two cores
"""

from imblearn.over_sampling import SMOTE
from imblearn.pipeline import Pipeline
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split

from minifer.sklearn import MobileNetClassifier


def main(rows=600, epochs=15):
    """Print what each of the three says of scikit-learn's digits."""
    digits = load_digits()
    images, labels = digits.images[:rows], digits.target[:rows]
    estimator = MobileNetClassifier(alpha=0.25, epochs=epochs, random_state=0)

    scores = cross_val_score(estimator, images, labels, cv=3)
    print(f"three parts, each measured by a network of the others: {scores.mean():.1%} +- {scores.std():.1%}")

    grid = GridSearchCV(estimator, {"alpha": [0.125, 0.25], "learning_rate": [1e-3, 3e-3]}, cv=2, n_jobs=2)
    grid.fit(images, labels)
    print(f"best of a grid: {grid.best_params_}, {grid.best_score_:.1%}")

    # Few eights: SMOTE, which works on flat rows, makes them as many as the others.
    flat, few = images.reshape(rows, -1), labels != 8
    few[[row for row in range(rows) if labels[row] == 8][: rows // 25]] = True
    train, test, train_labels, test_labels = train_test_split(
        flat[few], labels[few], stratify=labels[few], random_state=0
    )
    pipeline = Pipeline([("balance", SMOTE(k_neighbors=3, random_state=0)), ("network", estimator)])
    print(f"with SMOTE in front: {pipeline.fit(train, train_labels).score(test, test_labels):.1%}")


if __name__ == "__main__":
    main()
