"""The figures are real PNG files for every length of run, and matplotlib stays out of the import."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from minifer.errors import DataError
from minifer.report.figures import column, draw_confusion, draw_curves, last


def rows(count, **changes):
    """Rows as csv.DictReader gives them: all text."""
    return [
        {
            "epoch": str(k + 1),
            "learning_rate": str(1e-3 * 0.5 ** (k // 10)),
            "train_loss": str(1.8 / (k + 1)),
            "train_top1": str(1 - 0.7 / (k + 1)),
            "val_loss": str(1.9 / (k + 1) ** 0.5),
            "val_top1": str(0.7 - 0.4 / (k + 1)),
            "seconds": "30.1",
            "pictures_per_second": "950",
            **changes,
        }
        for k in range(count)
    ]


def picture(path):
    """The picture's pixels, once it is sure that the file is a PNG with something drawn on it."""
    with Image.open(path) as image:
        assert image.format == "PNG"
        pixels = np.asarray(image.convert("RGB"))
    assert min(pixels.shape[:2]) > 200
    assert pixels.std() > 1
    return pixels


def has_colour(pixels, colour):
    return bool((np.abs(pixels.astype(int) - colour).max(axis=2) <= 2).any())


@pytest.mark.parametrize("count", [1, 100])
def test_curves_of_any_length_show_both_lines(tmp_path, count):
    draw_curves(rows(count), tmp_path / "curves.png")
    pixels = picture(tmp_path / "curves.png")
    assert has_colour(pixels, (0x00, 0x72, 0xB2))
    assert has_colour(pixels, (0xD5, 0x5E, 0x00))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "changes",
    [{"val_loss": "", "val_top1": ""}, {"train_loss": "nan"}, {"learning_rate": "0.0"}],
    ids=["no validation", "loss is NaN", "rate 0"],
)
def test_curves_with_gaps(tmp_path, changes):
    draw_curves(rows(1, **changes), tmp_path / "curves.png")
    picture(tmp_path / "curves.png")
    draw_curves(rows(4) + rows(1, epoch="5", **changes), tmp_path / "curves.png")
    picture(tmp_path / "curves.png")


def test_no_rows(tmp_path):
    with pytest.raises(DataError, match="no epoch has ended"):
        draw_curves([], tmp_path / "curves.png")


@pytest.mark.parametrize("count", [7])
def test_confusion_of_any_size(tmp_path, count):
    confusion = np.random.default_rng(0).integers(0, 900, size=(count, count))
    confusion[0] = 0  # a class without pictures divides nothing by zero
    draw_confusion(confusion.tolist(), [f"class {k}" for k in range(count)], tmp_path / "confusion.png", "title")
    picture(tmp_path / "confusion.png")


def test_columns_turn_text_into_numbers_and_gaps():
    values = column([{"a": "1.5"}, {"a": ""}, {"a": None}, {"a": 2}, {}], "a")
    np.testing.assert_array_equal(values, [1.5, np.nan, np.nan, 2, np.nan])
    assert last(values) == 2
    assert np.isnan(last(values[1:3]))


def test_matplotlib_is_imported_only_when_drawing_and_never_pyplot(tmp_path):
    script = f"""if True:
        import sys
        from minifer.report import figures
        assert "matplotlib" not in sys.modules
        figures.draw_confusion([[1]], ["one"], {str(tmp_path / "c.png")!r}, "title")
        assert "matplotlib.pyplot" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", script], check=True)
