# make reproduce   run notebooks 00–06 (DATA=, PRESET=, FRESH=1, NOTEBOOKS=02,03 choose)
# make test        lint, check the pairs, run the tests (those in a browser need chromium)
# make seeds       repeat the lecture run and its controls with five seeds (about two hours)
# make compare     measure the report's claims and a better recipe's ingredients, one change at a time (DATA=, PRESET=)
# make bench       measure speed, as ratios: the table of benchmarks/README.md (10 to 14 minutes)
# make notebooks   run the lecture on the built-in data from scratch and store its outputs in the notebooks
# make pair        write each .ipynb from its edited .py, keeping the outputs of unchanged cells
# make exercises   write the notebooks without solutions to build/student, and with them to build/solutions
# make publish     write REPO=owner/name, its address on GitHub, into the setup cells and the Colab badges
# make site        build the site in build/site, from the outputs stored in the notebooks

PYTHON ?= python3
BIN := .venv/bin

.PHONY: reproduce test seeds compare bench notebooks pair exercises publish site

CHOSEN := $(if $(DATA),COURSE_DATA="$(DATA)") $(if $(PRESET),COURSE_PRESET="$(PRESET)")

reproduce: .venv/run-installed
	$(CHOSEN) $(BIN)/python -m tools.reproduce $(if $(FRESH),--fresh) $(if $(NOTEBOOKS),--notebooks "$(NOTEBOOKS)")

test: .venv/test-installed
	$(BIN)/ruff check .
	$(BIN)/python -m pytest --numprocesses=auto --dist=loadfile --no-loadscope-reorder

seeds: .venv/run-installed
	$(BIN)/python -m experiments.seeds

compare: .venv/run-installed
	$(CHOSEN) $(BIN)/python -m experiments.compare

bench: .venv/run-installed
	$(BIN)/python benchmarks/bench.py

notebooks: .venv/run-installed
	$(BIN)/python -m tools.reproduce --fresh
	$(BIN)/python -m tools.pair --executed

pair: .venv/run-installed
	$(BIN)/python -m tools.pair

exercises: .venv/run-installed
	$(BIN)/python -m tools.exercises

publish: .venv/run-installed
	$(BIN)/python -m tools.publish "$(REPO)"

site: .venv/site-installed
	$(BIN)/python -m sphinx -q -E -W --keep-going -c docs -d build/doctrees . build/site

.venv/run-installed .venv/test-installed .venv/site-installed: .venv/%-installed: pyproject.toml requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[$*]"
	touch $@
