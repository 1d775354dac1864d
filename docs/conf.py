"""Sphinx configuration; ``make docs`` builds the site with warnings as errors."""

import importlib.metadata
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # gallery_reset.py

project = "brian2grad"
author = "The brian2grad developers"
release = importlib.metadata.version("brian2grad")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.mathjax", "numpydoc"]
extensions += ["sphinx_gallery.gen_gallery", "sphinx-mathjax-offline"]  # formulas are read without a network
exclude_patterns = ["_build", "output", "reference/generated/*.md", "gallery/**/*.ipynb", "gallery/**/*.py"]
suppress_warnings = ["autosummary.import_cycle"]

myst_enable_extensions = ["amsmath", "colon_fence", "dollarmath"]
myst_heading_anchors = 3

autosummary_generate = True
# scikit-learn writes set_score_request by itself, with references into its own pages.
autodoc_default_options = {"members": True, "show-inheritance": False, "exclude-members": "set_score_request"}
autodoc_typehints = "none"  # the docstrings say types, shapes and units
autodoc_member_order = "bysource"
add_module_names = False
# Members come from autodoc; numpydoc would list them a second time.
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

# A script that has not changed is not run again; demo.py is the command `make demo`, not an example to read.
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "ignore_pattern": "demo",
    "reset_modules": ("matplotlib", "gallery_reset.reset_brian"),
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "min_reported_time": 1e9,
    "show_signature": False,
    "parallel": 2,
}

html_theme = "furo"
html_static_path, html_css_files = ["static"], ["site.css"]
html_title = "brian2grad"
html_show_sphinx = False
html_copy_source = False
html_show_copyright = False
