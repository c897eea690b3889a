"""Packaging of kexue_keras."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent
VERSION = re.search(
    r'^__version__ = "(.+)"$', (ROOT / "kexue_keras/__init__.py").read_text("utf-8"), re.MULTILINE
).group(1)

JAX = ["jax>=0.4.30"]
# bert4keras itself requires Keras 2.3.1 at most, so it is installed apart, with --no-deps (`make`
# does so); these are what its 0.11.5 needs beside TensorFlow.
BERT4KERAS = ["tf-keras>=2.18"]
SIMILARITY = ["pot>=0.9", "scipy>=1.11"]
SENTENCEPIECE = ["sentencepiece>=0.2"]
JIEBA = ["jieba>=0.42"]
XIANGQI = ["pyffish>=0.0.80"]
WEB = ["fastapi>=0.110", "uvicorn>=0.27"]
# the handwritten digits come with scikit-learn; exact distances are POT's
DIGITS = ["scikit-learn>=1.4", *SIMILARITY]

setup(
    name="kexue_keras",
    version=VERSION,
    description="Keras layers, losses, decoding and recipes from the articles of kexue.fm",
    long_description=(ROOT / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    packages=find_packages(include=["kexue_keras", "kexue_keras.*"]),
    python_requires=">=3.11",
    install_requires=[
        "tensorflow>=2.18",
        "keras>=3.12",
        "numpy>=1.26",
        "h5py>=3.10",
        "google-crc32c>=1.5",
        "safetensors>=0.4",
        "tokenizers>=0.20",
        "tqdm>=4.66",
        "matplotlib>=3.8",
        "tyro>=0.9",
        "sacrebleu>=2.4",
    ],
    extras_require={
        "jax": JAX,
        "bert4keras": BERT4KERAS,
        "similarity": SIMILARITY,
        "sentencepiece": SENTENCEPIECE,
        "jieba": JIEBA,
        "xiangqi": XIANGQI,
        "web": WEB,
        "digits": DIGITS,
        "test": [
            *JAX,
            *BERT4KERAS,
            *SIMILARITY,
            *SENTENCEPIECE,
            *XIANGQI,
            *WEB,
            *DIGITS,
            "httpx>=0.27",
            "selenium>=4.20",
            "pytest>=8",
            "pytest-xdist>=3.5",
            "hypothesis>=6.100",
            "ruff>=0.6",
        ],
    },
    classifiers=[
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
