"""The site (`make site`): the notebooks with their stored outputs, other pages, and a reference.

Its source folder is the checkout, so a link leads where it leads on GitHub. Pages ask no other host
for anything.
"""

from __future__ import annotations

import json
import re
from operator import attrgetter

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

import course_lib
from course_lib import checks
from tools.publish import published_place

project = "Three stages of an image classifier"
html_title = project
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
root_doc = "docs/index"
include_patterns = ["C*.md", "docs/*.md", "notebooks/[0-9][0-9]_*.ipynb", "notebooks/*.md"]
include_patterns += ["results/*.md", "benchmarks/*.md"]
exclude_patterns = [".*", "runs", "build", "notebooks/*-Copy*"]
smartquotes = False
suppress_warnings = ["myst-nb.lexer"]  # a notebook that was never run has no colours yet
nb_execution_mode = "off"
highlight_language = "none"  # a block of code that needs colours names its language
nb_merge_streams = True
nb_ipywidgets_js = {}  # it would come from another host, and no notebook stores widgets
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False  # torch's `forward` isn't ours to describe
autodoc_preserve_defaults = True
place = published_place()
html_theme = "sphinx_book_theme"
html_theme_options = {
    "footer_content_items": "",  # no author, no copyright: LICENSE says it
    "home_page_in_toc": True,
    "navbar_persistent": [],  # the sidebar has a search field already
    "show_toc_level": 2,
    "use_download_button": False,
}
if place:
    html_theme_options |= {
        "repository_url": f"https://github.com/{place.repository}",
        "repository_branch": place.ref,
        "use_repository_button": True,
        "use_issues_button": True,
    }
templates_path = ["templates"]
html_static_path = ["static"]
html_css_files = ["site.css"]
html_extra_path = ["redirect"]  # the root of the site leads to docs/index.html
html_math_renderer = "mathml"
html_use_index = False
html_domain_indices = False
html_show_copyright = False
html_show_sourcelink = False
html_copy_source = False


def no_other_host(app, page, content):
    """Show the text of an image that lies elsewhere, such as Colab's badge.

    content: a list of one text, which is changed; of a notebook, its JSON.
    """
    content[0] = re.sub(r"!\[([^\]]*)\]\(https?:[^)]*\)", r"\1", content[0])


WIDGET = re.compile(r"^browse_\w+\(", re.MULTILINE)
IN_PLACE_OF_A_WIDGET = "*Run the notebook to get sliders and menus here: they need Python.*"


def as_it_looks_in_a_notebook(app, page, content):
    """Title the folded cells, and say where a reader who runs the notebook gets a widget.

    content: a list of one text; of a notebook, its JSON.
    """
    if not page.startswith("notebooks/") or not content[0].startswith("{"):
        return
    notebook = json.loads(content[0])
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        source = "".join(cell["source"])
        title = re.match(r"# @title (.+)\n", source)
        if title:
            prompts = {"code_prompt_show": title[1], "code_prompt_hide": title[1]}
            cell["metadata"]["mystnb"] = prompts
        if WIDGET.search(source):
            data = {"text/markdown": IN_PLACE_OF_A_WIDGET}
            output = {"output_type": "display_data", "data": data, "metadata": {}}
            cell["outputs"].append(output)
    content[0] = json.dumps(notebook)


def describe_figures(app, doctree):
    """Take the plain text of an output as the description of the figure beside it."""
    for output in doctree.findall(nodes.container):
        if output.get("nb_element") != "mime_bundle":
            continue
        kinds = {
            kind["mime_type"]: kind
            for kind in output.findall(nodes.container)
            if "mime_type" in kind
        }
        if "text/plain" not in kinds:
            continue
        for figure in output.findall(nodes.image):
            figure["alt"] = " ".join(kinds["text/plain"].astext().split())


def wrap_sentences(app, doctree):
    """Mark what a notebook has printed, unless it's a table, so that long lines wrap."""
    for block in doctree.findall(nodes.literal_block):
        is_table = block.astext().startswith("|")
        if "stream" in block["classes"] and not is_table:
            block["classes"].append("sentences")


def finish_page(app, page, template, context, doctree):
    """Add the button that opens the class's version of a notebook; label what unfolds a cell."""
    if doctree is None:
        return
    # Screen readers announce the cell's title, which this label would hide.
    label = ' aria-label="Toggle hidden content"'
    context["body"] = context["body"].replace(f"<summary{label}>", "<summary>")
    notebook = re.fullmatch(r"notebooks/(\d\d_\w+)", page)
    if place and notebook:
        button = {
            "type": "link",
            "url": place.in_colab(f"class/{notebook[1]}.ipynb"),
            "tooltip": "Open in Colab, without results",
            "icon": "fas fa-rocket",
            "label": "launch-button",
        }
        context["header_buttons"].insert(0, button)


def described() -> dict[str, list[str]]:
    """What the reference describes, {module: names}; both are relative to `course_lib`.

    That's all the library exports, the classes of what it returns, and the checks.
    """
    modules = {}
    for name, thing in vars(course_lib).items():
        module = getattr(thing, "__module__", "")
        if module.startswith("course_lib."):
            modules.setdefault(module.removeprefix("course_lib."), []).append(name)
    modules["experiment"] += ["experiment.Course", "experiment.Stage"]
    modules["settings"] = ["settings.Settings"]
    modules["data.bank"] = ["data.bank.Bank", "data.bank.Images"]
    modules["checks"] = [f"checks.{name}" for name in checks.__all__]
    return modules


def reference(app, page, content):
    """Append the reference to docs/api.md, by module. content: a list of one text."""
    if page != "docs/api":
        return
    for module, names in described().items():
        lines = [
            "",
            f"## {module}",
            "",
            "```{eval-rst}",
            f".. automodule:: course_lib.{module}",
            "",
        ]
        for name in names:
            if isinstance(attrgetter(name)(course_lib), type):
                lines.append(f".. autoclass:: course_lib.{name}")
                lines.append("   :members:")
            else:
                lines.append(f".. autofunction:: course_lib.{name}")
        lines += ["```", ""]
        content[0] += "\n".join(lines)


def as_plain_text(app, what, name, thing, options, lines):
    """Docstrings are plain text with `code` and *emphasis*: nothing else in them is markup."""

    def escaped(found):
        emphasis, markup = found.groups()
        return emphasis or rf"\{markup}"

    for number, line in enumerate(lines):
        plain = ""
        for part in re.split("(`[^`]+`)", line):
            if len(part) > 2 and part[0] == part[-1] == "`":
                plain += f"`{part}`"  # code: reStructuredText has two backquotes
            else:
                plain += re.sub(r"(\*\w+\*)|([\\*_|`])", escaped, part)
        lines[number] = plain


def short_types(app, what, name, thing, options, signature, returned):
    """Types without their modules, which autodoc marks with a tilde."""

    def short(text):
        return text and re.sub(r"~[\w.]*\.(?=\w)", "", text)

    return short(signature), short(returned)


def formula(as_block):
    """What Sphinx calls at a formula's beginning and end.

    It's written as MathML, which browsers show without a script.
    """

    def visit(translator, node):
        try:
            mathml = tex2mathml(node.astext(), as_block=as_block)
        except MathError as error:
            logging.getLogger(__name__).warning(
                "docutils can't read the formula %s: %s", node.astext(), error
            )
            raise nodes.SkipNode from error
        # "log p" with a space; a parenthesis needs none.
        translator.body.append(
            re.sub(r"<mo>&ApplyFunction;</mo>(?!\s*<mo)", '<mspace width="0.17em"/>', mathml)
        )
        raise nodes.SkipNode

    return visit, None


def setup(app):
    """Called by Sphinx."""
    app.connect("source-read", no_other_host)
    app.connect("source-read", reference)
    app.connect("source-read", as_it_looks_in_a_notebook)
    app.connect("doctree-read", describe_figures)
    app.connect("doctree-read", wrap_sentences)
    app.connect("html-page-context", finish_page, priority=600)  # the theme's buttons come first
    app.connect("autodoc-process-docstring", as_plain_text)
    app.connect("autodoc-process-signature", short_types)
    app.add_html_math_renderer("mathml", formula(as_block=False), formula(as_block=True))
