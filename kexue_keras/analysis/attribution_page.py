"""A page on which red and blue mark the tokens that decide."""

import html

import numpy as np

from kexue_keras.analysis.attribution_colors import BLUE, RED, checked, shade
from kexue_keras.files import write_text

_PAGE = """<!DOCTYPE html>
<html lang="zh">
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ max-width: 46em; margin: 2em auto; padding: 0 1em; color: #202020; background: #ffffff;
  font: 17px/2 "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", sans-serif; }}
h1 {{ font-size: 1.2em; }}
section {{ border-top: 1px solid #dddddd; padding: 0.4em 0; }}
h2 {{ font-size: 0.8em; font-weight: normal; color: #666666; margin: 0; }}
p {{ margin: 0; }}
section span {{ padding: 0.15em 0.12em; margin: 0 0.05em; border-radius: 0.25em; }}
.legend {{ font-size: 0.8em; color: #666666; }}
.legend span {{ display: inline-block; width: 10em; height: 0.8em; margin: 0 0.6em;
  vertical-align: middle; border-radius: 0.2em;
  background: linear-gradient(to right, rgb{blue}, white, rgb{red}); }}
</style>
</head>
<body>
<h1>{title}</h1>
<p class="legend">{against}<span></span>{speaks_for}</p>
{sections}
</body>
</html>
"""


def attribution_html(
    tokens, scores, path=None, *, captions=None, title="Attributions", ends=("against", "for")
):
    """A page, whole in itself, with a section for every sample.

    A token's colour is red for a positive score and blue for a negative one, the stronger the
    larger it is beside the largest of its sample. The score is shown under the pointer.

    Args:
        tokens: list of lists of str, the tokens of every sample.
        scores: list of sequences of numbers, such as the `tokens` of `integrated_gradients`; those
            after the last token are left out.
        path: file to write, or None.
        captions: list of str, a line above every sample, or None.
        title: of the page.
        ends: what blue and red mean.

    Returns:
        The text of the page.

    Raises:
        ValueError: tokens and scores do not go together, or the captions are not as many.

    Example:

    >>> from kexue_keras import analysis
    >>> page = analysis.attribution_html([["很", "好"]], [[0.5, 1.0]])
    >>> '<span style="background:#c81e2d;color:#ffffff" title="+1.0000">好</span>' in page
    True

    Reference: https://kexue.fm/archives/7533
    """
    samples = checked(tokens, scores)
    if captions is not None and len(captions) != len(samples):
        raise ValueError(
            f"`captions` must be {len(samples)}, one a sample. Received: {len(captions)}"
        )
    sections = []
    for i, (texts, row) in enumerate(samples):
        largest = float(np.abs(row).max(initial=0.0))
        spans = []
        for text, score in zip(texts, row, strict=True):
            background, colour = shade(score, largest)
            style = f"background:{background};color:{colour}"
            spans.append(f'<span style="{style}" title="{score:+.4f}">{html.escape(text)}</span>')
        caption = "" if captions is None else f"<h2>{html.escape(captions[i])}</h2>\n"
        sections.append(f"<section>\n{caption}<p>{''.join(spans)}</p>\n</section>")
    page = _PAGE.format(
        title=html.escape(title),
        against=html.escape(ends[0]),
        speaks_for=html.escape(ends[1]),
        blue=BLUE,
        red=RED,
        sections="\n".join(sections),
    )
    if path is not None:
        write_text(path, page)
    return page
