"""Expectation suites: propose, check, report."""
