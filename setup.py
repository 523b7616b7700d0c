"""Puts the workflow, which stays on top of the project, into the wheel as `gan/bundle`; pyproject.toml has all else."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

BUNDLE = ("Snakefile", "config.yaml", "demo.yaml", "workflow", "slurm", "profiles")


class Build(build_py):
    def run(self):
        super().run()
        if self.editable_mode:  # `gan.project` then finds them where they are
            return
        bundle = Path(self.build_lib, "gan/bundle")
        shutil.rmtree(bundle, ignore_errors=True)
        bundle.mkdir(parents=True)
        for name in BUNDLE:
            if Path(name).is_dir():
                shutil.copytree(name, bundle / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(name, bundle)


setup(cmdclass={"build_py": Build})
