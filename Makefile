# The two commands of Weir, and what belongs to them. `make run PYTHON=python3.12` takes another Python.
PYTHON ?= python3

.PHONY: run stop status clean test chaos

run:  ## set up and start everything, publish the sample, print the address
	@$(PYTHON) infra/local/bootstrap.py
	@.venv/bin/weir up

stop:  ## stop everything; the data stays
	@test ! -x .venv/bin/weir || .venv/bin/weir down

status:
	@.venv/bin/weir status

clean: stop  ## remove the data, the servers and the environment
	rm -rf .weir .weir-test .servers .venv

test:  ## all checks and tests, in a home and on ports of their own
	@$(PYTHON) infra/local/bootstrap.py --dev
	@sh infra/local/checks.sh

chaos:  ## the kill tests in their long form: an hour or more
	@$(PYTHON) infra/local/bootstrap.py --dev
	@WEIR_CHAOS=long WEIR_CHAOS_BLOWS=300 WEIR_CHAOS_SECONDS=180 .venv/bin/python -m pytest --own-servers -s tests/chaos
