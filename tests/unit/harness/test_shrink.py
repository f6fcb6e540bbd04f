"""A tiny model has the architecture's own traits, and two layers of each kind of its sizes."""

from __future__ import annotations

from typing import Any

import pytest

from tunematrix.harness.shrink import shrink

QWEN = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "head_dim": 128,
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "max_position_embeddings": 40960,
    "max_window_layers": 28,
    "num_attention_heads": 16,
    "num_hidden_layers": 28,
    "num_key_value_heads": 8,
    "rope_theta": 1000000,
    "sliding_window": None,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "vocab_size": 151936,
}


def test_sizes_shrink_and_traits_stay() -> None:
    small = shrink(QWEN)

    assert {name: small[name] for name in small if small[name] != QWEN[name]} == {
        "head_dim": 32,  # wider than width / heads, as theirs
        "hidden_size": 64,
        "intermediate_size": 128,
        "max_window_layers": 2,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "num_key_value_heads": 2,
    }
    assert small.keys() == QWEN.keys()


@pytest.mark.parametrize(
    ("heads", "key_value_heads", "expected"), [(32, 32, 4), (32, 8, 2), (8, 1, 1), (2, 2, 4)]
)
def test_each_kind_of_attention_stays_that(heads: int, key_value_heads: int, expected: int) -> None:
    config = {**QWEN, "num_attention_heads": heads, "num_key_value_heads": key_value_heads}

    assert shrink(config)["num_key_value_heads"] == expected


def test_a_layer_of_each_kind_is_kept() -> None:
    kinds = ["sliding_attention"] * 5 + ["full_attention"]
    config = {**QWEN, "num_hidden_layers": 12, "layer_types": kinds * 2, "no_rope_layers": [1] * 11 + [0]}

    small = shrink(config)

    assert small["layer_types"] == ["sliding_attention", "full_attention"]
    assert small["no_rope_layers"] == [1, 1]
    assert small["num_hidden_layers"] == 2


def test_kinds_of_layers_that_are_not_given_stay_so() -> None:
    assert shrink({**QWEN, "layer_types": None})["layer_types"] is None


@pytest.mark.parametrize(
    ("rope", "expected"),
    [
        ({"rope_type": "llama3", "factor": 8.0}, {"rope_type": "llama3", "factor": 8.0}),
        ({"mrope_section": [16, 24, 24]}, {"mrope_section": [4, 6, 6]}),
        ({"long_factor": [1.0] * 64, "type": "longrope"}, {"long_factor": [1.0] * 16, "type": "longrope"}),
        ({"full_attention": {"rope_theta": 1e6}}, {"full_attention": {"rope_theta": 1e6}}),
    ],
)
def test_lists_of_rotary_settings_fit_the_smaller_head(rope: Any, expected: Any) -> None:
    assert shrink({**QWEN, "rope_scaling": rope})["rope_scaling"] == expected


def test_experts_and_parts_shrink_too_and_quantisation_goes() -> None:
    config = {
        **QWEN,
        "num_experts": 128,
        "num_experts_per_tok": 8,
        "moe_intermediate_size": 768,
        "quantization_config": {"bits": 4},
        "text_config": QWEN,
        "vision_config": None,
    }

    small = shrink(config)

    assert (small["num_experts"], small["num_experts_per_tok"], small["moe_intermediate_size"]) == (4, 2, 128)
    assert small["text_config"]["hidden_size"] == 64
    assert "quantization_config" not in small
