"""Which environment variables a source reads."""

from __future__ import annotations

import pytest

from tunematrix.shared.settings import is_setting, read_variables, split_setting


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ('os.environ.get("HF_HOME", None)', {"HF_HOME"}),
        ("os.environ['WANDB_PROJECT']", {"WANDB_PROJECT"}),
        ('os.getenv(\n    "TRANSFORMERS_CACHE",\n    default)', {"TRANSFORMERS_CACHE"}),
        ('os.environ.pop("USE_TF")', {"USE_TF"}),
        ('if "LOCAL_RANK" in os.environ and "WORLD_SIZE" not in os.environ:', {"LOCAL_RANK", "WORLD_SIZE"}),
        ('parse_flag_from_env("ACCELERATE_USE_CPU")', {"ACCELERATE_USE_CPU"}),
        ('get_int_from_env(["PMI_SIZE", "OMPI_SIZE"], 1)', {"PMI_SIZE"}),
        ('os.environ["ACCELERATE_USE_FSDP"] = "true"', set()),
        ('os.environ["ACCELERATE_USE_FSDP"] == "true"', {"ACCELERATE_USE_FSDP"}),
        ('env = {"SOME_NAME": 1}; os.environ.get("lower_case")', set()),
    ],
)
def test_a_variable_that_is_read_is_found_and_one_that_is_set_is_not(source: str, names: set[str]) -> None:
    assert read_variables(source) == names


def test_a_setting_is_told_from_a_name_of_a_module() -> None:
    assert split_setting("trl:environment.A_B") == ("trl", "environment", "A_B")
    assert is_setting("trl:environment.A_B")
    assert is_setting("trl:commands")
    assert not any(map(is_setting, ("trl.Name", "trl:other.A", "a:b:environment.A", "trl:environments.A")))
