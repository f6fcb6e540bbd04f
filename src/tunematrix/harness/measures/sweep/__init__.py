"""The sweep: every option of a configuration class at another value, beside a base run of the same stack."""
