"""Pictures: where the images stand, what is shown, and that files are written."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from kexue_keras.experiments import pictures

pytestmark = pytest.mark.once

RNG = np.random.default_rng(0)


def test_tiles_stand_row_by_row():
    images = RNG.uniform(0.1, 1, (5, 2, 3))
    whole = pictures.tile(images, columns=3, gap=2)
    assert whole.shape == (2 * 4 + 2, 3 * 5 + 2)
    for i, (top, left) in enumerate([(2, 2), (2, 7), (2, 12), (6, 2), (6, 7)]):
        np.testing.assert_array_equal(whole[top : top + 2, left : left + 3], images[i])
    assert whole.sum() == pytest.approx(images.sum())


def test_enlarged_images_keep_their_mean_and_straight_lines():
    ramp = np.arange(8.0)[None, None] * np.ones((1, 4, 1))
    large = pictures.enlarged(ramp, 4)
    assert large.shape == (1, 16, 32)
    np.testing.assert_allclose(np.diff(large[0, 0, 2:-2]), 0.25)
    assert large.mean() == pytest.approx(ramp.mean())
    noise = RNG.uniform(size=(3, 8, 8))
    assert pictures.enlarged(noise, 4).min() >= noise.min()
    turned = pictures.enlarged(noise.swapaxes(1, 2), 2).swapaxes(1, 2)
    np.testing.assert_allclose(turned, pictures.enlarged(noise, 2))


def test_the_plane_is_read_like_a_page():
    points = pictures.plane(2.0, 3)
    assert points[0].tolist() == [-2, 2] and points[4].tolist() == [0, 0]
    assert points[1].tolist() == [0, 2] and points[-1].tolist() == [2, -2]


def test_ellipses_have_their_centres_half_axes_and_a_unit_circle():
    axes = Figure().subplots()
    mean, deviation = RNG.normal(size=(6, 2)), RNG.uniform(0.1, 1, (6, 2))
    pictures.draw_ellipses(axes, mean, deviation, [0, 1, 2, 0, 1, 2], [(-3, 3), (-2, 4)])
    ellipses = axes.collections[0]
    np.testing.assert_allclose(ellipses.get_offsets(), mean)
    np.testing.assert_allclose(ellipses.get_widths(), 2 * deviation[:, 0])
    np.testing.assert_allclose(ellipses.get_heights(), 2 * deviation[:, 1])
    (circle,) = axes.patches
    assert circle.get_radius() == 1 and tuple(circle.get_center()) == (0, 0)
    assert axes.get_xlim() == (-3, 3) and axes.get_ylim() == (-2, 4)
    assert [text.get_text() for text in axes.texts] == ["0", "1", "2"]


def test_files_are_written(tmp_path):
    images = RNG.uniform(size=(9, 8, 8))
    pictures.draw_samples(tmp_path / "samples.png", {"a": images, "b_c": images}, 4, 2)
    mean, deviation = RNG.normal(size=(6, 2)) + 9, RNG.uniform(0.1, 1, (6, 2))
    panels = [("before", mean, deviation, images)]
    pictures.draw_codes(tmp_path / "codes.png", panels, [0, 1, 2, 3, 4, 5], 2.0)
    pictures.draw_curves(tmp_path / "curves.png", {"loss": [2, 1], "kl": [0, 1]}, "vae")
    lines = {"exact": [3.0, 2.0, 1.5], "estimated": [1.0, 1.2, 1.4]}
    pictures.draw_estimates(tmp_path / "estimates.png", {"clip": lines, "spectral": lines}, "W1")
    for name in ("samples", "codes", "curves", "estimates"):
        assert imread(tmp_path / f"{name}.png").std() > 0.01
