# make reproduce   run notebooks 00–06 (DATA=, PRESET=, FRESH=1, NOTEBOOKS=03,04 choose;
#                  SKIP_UNREADABLE=1 leaves out images that can't be read)
# make test        lint, check the types and the notebook pairs, run the tests (some need chromium)
# make test-slow   run the tests that take long: a lecture, notebooks 10 to 15, the benchmarks,
#                  marking, kills at every moment, several processes, two runtimes with one Drive
# make format      format the code as `make test` wants it
# make seeds       repeat the lecture run and its controls with five seeds (about two hours)
# make compare     measure the report's claims and a better recipe (DATA=, PRESET= choose)
# make sweeps      what notebooks 03 and 11 conclude from several seeds (hours on a CPU)
# make recipes     recipes against epochs: three budgets, five seeds (a day on a CPU)
# make bench       measure speed, as ratios: the table of benchmarks/README.md (10 to 14 minutes)
# make gpu         is the course right on this GPU, and how fast? One table (six minutes at most)
# make notebooks   run the lecture on the built-in data anew, store its outputs in the notebooks
# make pair        write each .ipynb from its edited .py, keeping the outputs of unchanged cells
# make exercises   write notebooks without solutions to build/student, solved to build/solutions
# make grade       mark the notebooks in a folder, DIR=submissions, that students have handed in
# make publish     make what a class and its lecturer need: class/, two notebooks to present from
#                  (REPO=owner/name and REF=branch or tag, if not git's)
# make release     offer the finished stages 2 and 3 for download (AT=https://… lists them in
#                  data_manifest.json)
# make site        build the site in build/site, from the outputs stored in the notebooks

PYTHON ?= python3
BIN := .venv/bin
ALL_CORES := --numprocesses=auto --dist=loadfile --no-loadscope-reorder

.PHONY: help reproduce test test-slow format seeds compare sweeps recipes bench gpu notebooks pair exercises grade publish release site

help:
	@sed -n '1,/^$$/s/^# //p' Makefile

# What you type may be any text, such as a file's name. It reaches the programs in their
# environment, where neither make nor the shell looks for commands in it: $(value …) is the text.
unexport DATA PRESET NOTEBOOKS FRESH REPO REF SKIP_UNREADABLE DIR AT
ifdef DATA
reproduce compare release: export COURSE_DATA := $(value DATA)
endif
ifdef PRESET
reproduce compare release: export COURSE_PRESET := $(value PRESET)
endif
ifdef SKIP_UNREADABLE
reproduce compare: export COURSE_SKIP_UNREADABLE := $(value SKIP_UNREADABLE)
endif
# Likewise a setting such as COURSE_SIZE=64, if you type it after make.
$(foreach name,$(filter COURSE_%,$(.VARIABLES)),\
  $(eval override $(name) := $$(value $(name))) $(eval export $(name)))
reproduce: export CHOSEN_NOTEBOOKS := $(value NOTEBOOKS)
publish: export REPOSITORY := $(value REPO)
publish: export REF_NAME := $(value REF)
grade: export SUBMISSIONS := $(value DIR)
release: export ADDRESS := $(value AT)

reproduce: .venv/run-installed
	$(BIN)/python -m tools.reproduce $(if $(filter 1,$(value FRESH)),--fresh) \
		--notebooks="$$CHOSEN_NOTEBOOKS"

test: .venv/test-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/python -m pytest -m "not slow" $(ALL_CORES)

test-slow: .venv/test-installed
	$(BIN)/python -m pytest -m slow $(ALL_CORES)

format: .venv/test-installed
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

seeds: .venv/run-installed
	$(BIN)/python -m experiments.seeds

compare: .venv/run-installed
	$(BIN)/python -m experiments.compare

sweeps: .venv/run-installed
	$(BIN)/python -m experiments.sweeps

recipes: .venv/run-installed
	$(BIN)/python -m experiments.recipes

bench: .venv/run-installed
	$(BIN)/python benchmarks/bench.py

gpu: .venv/run-installed
	$(BIN)/python benchmarks/gpu.py

notebooks: .venv/run-installed
	$(BIN)/python -m tools.reproduce --fresh
	$(BIN)/python -m tools.pair --executed

pair: .venv/run-installed
	$(BIN)/python -m tools.pair

exercises: .venv/run-installed
	$(BIN)/python -m tools.exercises

grade: .venv/run-installed
	$(BIN)/python -m tools.grade -- "$$SUBMISSIONS"

publish: .venv/publish-installed
	$(BIN)/python -m tools.publish --ref="$$REF_NAME" -- "$$REPOSITORY"

release: .venv/run-installed
	$(BIN)/python -m tools.release --at="$$ADDRESS"

site: .venv/site-installed
	$(BIN)/python -m sphinx -q -E -W --keep-going -c docs -d build/doctrees . build/site

# Publishing only moves text, so it needs no PyTorch.
.venv/publish-installed:
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "jupytext>=1.16"
	touch $@

INSTALLED := .venv/run-installed .venv/test-installed .venv/site-installed
$(INSTALLED): .venv/%-installed: pyproject.toml requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[$*]"
	touch $@
