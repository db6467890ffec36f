"""Build the one native module; everything else is declared in pyproject.toml."""

from Cython.Build import cythonize
from setuptools import Extension, setup

setup(
    ext_modules=cythonize(
        [
            Extension(
                "alluxio_lance.sidecar._shm",
                ["sidecar/_shm.pyx"],
                depends=["sidecar/_gather.h"],
                extra_compile_args=["-O3", "-Wall", "-Wextra", "-Wno-unused-parameter", "-pthread"],
                extra_link_args=["-pthread"],
            )
        ],
        compiler_directives={"language_level": "3", "freethreading_compatible": False},
    )
)
