# Four questions as a pipeline. Every stage is one call of `python -m pipeline`; it makes what it needs and is missing.
PYTHON ?= python3
ifeq ($(OS),Windows_NT)
BIN := .venv/Scripts
else
BIN := .venv/bin
endif
# Programs from elsewhere (BIN=folder) are as they are; our own are installed first.
READY := $(if $(filter command,$(origin BIN)),,.venv/ready)

# What each target takes, as options of its command line; while only-names is set, as the names of the variables alone.
# $(call option,NAME,--dotted.name …): the value of a variable the user gave, even an empty one, under each of the names.
# $(call flag,NAME,--dotted.name): of one that is yes or no, in the parser's words; what is neither is left to it.
# $(call plain,NAME): the value as it is.
option = $(if $(only-names),$(1),$(if $(filter undefined,$(origin $(1))),,$(foreach name,$(2),"$(name)=$($(1))")))
flag   = $(if $(only-names),$(1),$(if $($(1)),"$(2)=$(or $(call truth,$($(1))),$($(1)))"))
truth  = $(if $(filter 1 yes Yes YES on On ON true True TRUE,$(1)),true,$(if $(filter 0 no No NO off Off OFF false False FALSE,$(1)),false))
plain  = $(if $(only-names),$(1),$($(1)))

config   = $(call option,CONFIG,--config)
data     = $(call option,DATA,--data.choice) $(call option,SOURCE,--data.source) $(config)
colour   = $(call option,IMAGES,--data.images.folder) $(call option,DATASET,--data.denoise)
training = $(call option,EPOCHS,--classify.training.epochs) $(call option,SEEDS,--classify.seeds)
sweeping = $(call option,VARS,--sweep.variances) $(call option,EPOCHS,--sweep.training.epochs) \
           $(call option,SEEDS,--sweep.seeds) $(call flag,CLIP,--sweep.clip) $(call option,MODEL,--sweep.models)
engine   = $(call option,JOBS,--run.jobs) $(call option,ENGINE,--run.engine) $(call option,RAY_ADDRESS,--run.ray_address) \
           $(call option,THREADS,--run.threads) $(call flag,FORCE,--run.force) $(call flag,DRY_RUN,--run.dry_run)
files    = $(call plain,IN) $(call option,OUT,--out) $(call option,MODEL,--model)
more     = $(call plain,ARGS)

demo.options            = $(config) $(training) $(sweeping) $(engine) $(more)
all.options             = $(data) $(colour) $(training) $(sweeping) $(engine) $(more)
prepare.options         = $(data) $(colour) $(more)
classify.options        = $(data) $(training) $(call option,MODEL,--classify.model) $(engine) $(more)
sweep.options           = $(data) $(colour) $(sweeping) $(engine) $(more)
study-gan.options       = $(data) $(call option,SEEDS,--gan.seeds) $(engine) $(more)
study-batchnorm.options = $(data) $(call option,SEEDS,--batch_norm.seeds) $(engine) $(more)
report.options          = $(all.options)
denoise.options         = $(files) $(call option,VAR,--variance) $(call option,CLEAN,--clean) $(data) $(colour) $(more)
digits.options          = $(files) $(data) $(more)
compare.options         = $(more)
ui.options              = $(call option,PORT,--ui.port) $(more)
server.options          = $(call option,PORT,--server.port) $(call option,HOST,--server.host) \
                          $(call option,HOSTS,--server.allowed_hosts) $(call flag,AUTH,--server.auth) $(more)
doctor.options          = $(engine) $(more)
test.options            = $(if $(only-names),ALL,$(if $(filter true,$(call truth,$(ALL))),4 -m '',auto))
PIPELINE                = $(BIN)/python -m pipeline

STAGES := all prepare classify sweep study-gan study-batchnorm report denoise digits compare ui server doctor
TARGETS := help setup demo $(STAGES) test lint format lock clean distclean
.DEFAULT_GOAL := help
.PHONY: $(TARGETS)

# A variable on the command line that none of the targets takes would be passed over in silence, a mistyped one too.
# Those that another make hands on to this one are not meant for it, and what programs read from the environment may be
# written there as well.
known := $(sort $(foreach only-names,yes,$(foreach goal,$(MAKECMDGOALS),$($(goal).options))))
typed := $(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name)))
unknown := $(firstword $(filter-out $(known) PYTHON BIN SHELL MLFLOW_% OMP_% CUDA_%,$(typed)))
ifeq ($(MAKELEVEL)$(filter-out $(TARGETS),$(MAKECMDGOALS)),0)
$(if $(unknown),$(if $(filter-out help,$(MAKECMDGOALS)),\
    $(error $(unknown) is not a setting of make $(MAKECMDGOALS): $(or $(known),it takes none))))
endif

# make VARS=0.1 0.2 would run the first and then look for a target called 0.2.
stray := $(firstword $(filter-out $(TARGETS) .venv/%,$(MAKECMDGOALS)))
$(if $(stray),$(error there is no target $(stray), make lists them; several values go in quotes: VARS="0.01 0.05"))

help: ## this list
	@echo 'Usage: make TARGET [VARIABLE=value …]'
	@echo
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | awk -F'\t' '{ printf "  %-16s %s\n", $$1, $$2 }'
	@echo
	@echo 'Variables'
	@echo '  VARS="0.01 0.05 0.1"   noise variances of a sweep, pixels running from 0 to 1; 0.001:0.2:8 for eight in a range'
	@echo '  EPOCHS=3               passes over the training images'
	@echo '  SEEDS="0 1 2"          repetitions'
	@echo '  MODEL=name             network of classify, or one or several of sweep'
	@echo '  CLIP=1                 limit noisy images to [0, 1], as a camera would'
	@echo '  DATASET=mnist          denoise MNIST instead of CIFAR-10'
	@echo '  DATA=full|demo         MNIST and CIFAR-10, or the bundled images; not given: full if it can be had'
	@echo '  SOURCE=folder          where MNIST as CSV and CIFAR-10 lie, instead of downloading them'
	@echo '  IMAGES=folder          images of your own, to denoise instead of CIFAR-10'
	@echo '  CONFIG=file.yaml       another experiment file than experiments/full.yaml or demo.yaml'
	@echo '  JOBS=4|auto            trials at a time (1; experiments of a study: auto); THREADS=1 of each'
	@echo '  ENGINE=ray             on a Ray cluster: RAY_ADDRESS=address, else on this machine'
	@echo '  IN="a.png folder"      what to denoise, or CSV files or images of digits; OUT= where to'
	@echo '  VAR=0.01               variance of the noise in IN; not given: estimated. CLEAN=folder: to measure against'
	@echo '  FORCE=1                run finished trials anew'
	@echo '  DRY_RUN=1              say what would be run, and why'
	@echo '  ARGS="--name value"    anything else in a configuration, by its dotted name'
	@echo '  PORT=5000              of the MLflow UI, or of the server'
	@echo '  HOST=0.0.0.0           lets other machines use the server, with AUTH=1 (passwords) and HOSTS="its names"'

setup: $(READY) ## the virtual environment in .venv, with the locked dependencies

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed, this is %s; name another with PYTHON=" % sys.version.split()[0])'
	@echo 'Installing the locked dependencies into .venv: some minutes the first time'
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@

demo: $(READY) ## everything on the bundled images, offline, in a few minutes
	@$(PIPELINE) all --data.choice=demo $($@.options)

all: $(READY) ## everything: prepare, classify, sweep, both studies, report
prepare: $(READY) ## read MNIST (CSV) and CIFAR-10, once
classify: $(READY) ## train and measure a digit classifier
sweep: $(READY) ## train and measure a denoiser for each noise variance in VARS
study-gan: $(READY) ## measure why a generator ascends log D(G(z))
study-batchnorm: $(READY) ## measure whether batch normalization speeds up learning
report: $(READY) ## write reports/output/report.en.md from the tracked runs; networks are trained first where none are
denoise: $(READY) ## denoise the images IN= into the folder OUT=, with the best model trained
digits: $(READY) ## name the digits in IN=: CSV files or images; OUT=predictions.csv
compare: $(READY) ## print the figures of all classifiers and of the last sweep, side by side
ui: $(READY) ## compare the runs in the MLflow UI
server: $(READY) ## an MLflow server for several people or machines
doctor: $(READY) ## what is installed and stored here, and what is wrong with it

$(STAGES):
	@$(PIPELINE) $@ $($@.options)

# The slow tests wait for servers and for moments to kill: more of them run at once than there are cores.
test: $(READY) ## the tests (a few minutes); ALL=1: also the slow ones and those with servers
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $($@.options) --dist worksteal

lint: $(READY) ## style, types, and the arrows between the rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## rewrite the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Public versions only, and none of the CUDA packages: torch's own metadata brings what a platform needs.
lock: $(READY) ## pin the dependencies of pyproject.toml anew in requirements.lock
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --extra dev --no-annotate \
		--custom-compile-command 'make lock' --output-file requirements.lock pyproject.toml
	sed -i.old -E '/^(cuda-|nvidia-|triton)/d' requirements.lock && rm requirements.lock.old

clean: ## delete caches of code and the generated report; data, runs and .venv stay
	rm -rf reports/output build .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

distclean: clean ## delete all that was made here: prepared data, every tracked run, .venv
	rm -rf .cache .venv mlflow.db mlflow.db-shm mlflow.db-wal mlflow.db.lock mlflow.db.before-move mlflow.users.db \
		mlruns mlartifacts *.egg-info
