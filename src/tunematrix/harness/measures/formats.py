"""Measures of file formats: can the stack read what older and newer releases have written?

The host names a folder in ``TUNEMATRIX_FORMATS`` that holds a folder for each of ``FEATURES``. They are read
as users read a model, with the Auto classes and no arguments. Each part is guarded: what raises is recorded
as ``PART_error``, and the other parts go on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from tunematrix.harness.isolate import Unavailable
from tunematrix.harness.measures.lab import Lab

# The folders, and the one whose logits each must have: the same weights, written in another way.
FEATURES: Final[Mapping[str, str]] = {
    "written_by_4_44": "",
    "written_by_4_57": "written_by_4_44",
    "written_by_5": "written_by_4_44",
    "torch_dtype": "",
    "dtype": "torch_dtype",
    "dtype_twice": "torch_dtype",
    "rope_linear": "",
    "rope_llama3": "",
    "rope_parameters": "rope_llama3",
    "weights_bin": "written_by_4_44",
    "weights_sharded": "written_by_4_44",
    "head_stored_twice": "written_by_4_44",
    "head_differs": "",
    "generation_temperature": "written_by_4_44",
    "generation_sampling": "written_by_4_44",
    "generation_in_config": "written_by_4_44",
    "merges_pairs": "",
    "chat_template_file": "",
    "special_tokens_old": "",
    "special_tokens_both": "",
    "special_tokens_dict": "",
    "special_tokens_list": "",
    "tokenizer_gpt2": "",
    "tokenizer_gpt2_5": "",
    "tokenizer_qwen2": "",
    "tokenizer_qwen2_5": "",
    "tokenizer_llama": "",
    "tokenizer_llama_first": "",
    "tokenizer_llama_5": "",
    "tokenizer_llama_bytes": "",
    "tokenizer_unigram": "",
    "tokenizer_unigram_5": "",
    "tokenizer_t5": "",
}
TEXTS: Final = (" The sky is blue, naïve café .", "Water in 2024:  1234\ngardens, it's not <|im_end|>")
CHAT: Final = ({"role": "user", "content": "What color is the sky?"},)
# Fixed ids, because a tokenizer that cannot be read must not hide what the model does; long enough for a
# wrong rotary embedding to show.
INPUT_IDS: Final = tuple(range(5, 485, 20))
GENERATION_DEFAULTS: Final[Mapping[str, Any]] = {
    "do_sample": False,
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 50,
    "max_length": 20,
}
RELATIVE_NOISE: Final = 1e-5


def _measure(feature: str) -> Callable[[Lab], None]:
    """The measure of one folder, which reads what the folder has: a tokenizer, weights, or both."""

    def measure(lab: Lab) -> None:
        folder = _folder(feature)
        if (folder / "tokenizer_config.json").is_file():
            _add_tokenizer(lab, folder)
        if _has_weights(folder):
            _add_model(lab, feature, folder)

    measure.__name__ = f"format_{feature}"
    measure.__doc__ = f"Reading the folder {feature}."
    return measure


@contextmanager
def _part(lab: Lab, name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        lab.add_number(f"{name}_error", type(_cause(error)).__name__)


def _cause(error: BaseException) -> BaseException:
    """``error``, or the one that was being handled when an import failed.

    transformers 4 imports protobuf to handle errors of tokenizers; whether it is installed must not show.
    """
    while isinstance(error, ImportError) and error.__context__:
        error = error.__context__
    return error


def _folder(feature: str) -> Path:
    root = os.environ.get("TUNEMATRIX_FORMATS", "")
    if not root:
        raise Unavailable("the host names no folder of file formats in TUNEMATRIX_FORMATS")
    return Path(root, feature)


def _has_weights(folder: Path) -> bool:
    return any(folder.glob("*.safetensors")) or any(folder.glob("*.bin"))


def _add_config(lab: Lab, folder: Path) -> None:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(str(folder))
    # Asked of a config without a file: with one, any unknown key would be an attribute too.
    name = "dtype" if hasattr(type(config)(), "dtype") else "torch_dtype"
    lab.add_number("declared_dtype", str(getattr(config, name)).removeprefix("torch."))


def _add_tokenizer(lab: Lab, folder: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer: Any = None
    with _part(lab, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(str(folder))
        lab.add_number("tokenizer_class", type(tokenizer).__name__)
    if tokenizer is None:
        return
    with _part(lab, "ids"):
        ids = [tokenizer(text)["input_ids"] for text in TEXTS]
        lab.add_number("ids", ids)
        lab.add_number("round_trip", [tokenizer.decode(each) for each in ids])
        lab.add_number("skipped", [tokenizer.decode(each, skip_special_tokens=True) for each in ids])
    with _part(lab, "special_tokens"):
        roles = ("bos", "eos", "pad", "unk")
        lab.add_number("special_ids", {role: getattr(tokenizer, f"{role}_token_id") for role in roles})
        lab.add_number("special_tokens", sorted(set(tokenizer.all_special_tokens)))
        # transformers 5 renamed them; before it, the new name was for tokens that have a role.
        extra = getattr(tokenizer, "additional_special_tokens", None)
        extra = getattr(tokenizer, "extra_special_tokens", None) if extra is None else extra
        lab.add_number("extra_tokens", sorted(extra or []))
        if "image_token" in (folder / "tokenizer_config.json").read_text():
            lab.add_number("image_token", getattr(tokenizer, "image_token", None))
    if "<|im_start|>" in (folder / "tokenizer.json").read_text():
        with _part(lab, "chat"):
            lab.add_number("chat", tokenizer.apply_chat_template(list(CHAT), tokenize=False))


def _load(folder: Path) -> tuple[Any, Mapping[str, Any]]:
    from transformers import AutoModelForCausalLM, set_seed

    set_seed(0)  # weights that are not found in the files are random
    model, information = AutoModelForCausalLM.from_pretrained(str(folder), output_loading_info=True)
    return model.eval(), information


def _add_model(lab: Lab, feature: str, folder: Path) -> None:
    with _part(lab, "config"):
        _add_config(lab, folder)
    model: Any = None
    with _part(lab, "model"):
        model, information = _load(folder)
        _add_loaded(lab, model, information)
    if model is not None:
        _add_behaviour(lab, feature, model.float())


def _add_loaded(lab: Lab, model: Any, information: Mapping[str, Any]) -> None:
    lab.add_number("dtype", str(model.dtype).removeprefix("torch."))
    for kind in ("missing_keys", "unexpected_keys"):
        lab.add_number(kind, sorted(information[kind]))
    head, embedding = model.get_output_embeddings().weight, model.get_input_embeddings().weight
    lab.add_number("tied", head is embedding)
    frequencies = next(value for name, value in model.named_buffers() if name.endswith("inv_freq"))
    lab.add_number("inv_freq", [float(f"{value:.5g}") for value in frequencies.tolist()])


def _add_behaviour(lab: Lab, feature: str, model: Any) -> None:
    """What the model computes; in float32, so that the dtype that it was loaded in does not show twice."""
    with _part(lab, "logits"):
        logits = _logits(model)
        lab.add_number("logits_abs_sum", float(logits.abs().sum()))
        if reference := FEATURES[feature]:
            expected = _reference_logits(_folder(reference))
            difference = float((logits - expected).abs().max())
            lab.add_number("logits_equal", difference < RELATIVE_NOISE * float(expected.abs().max()))
    with _part(lab, "generation"):
        _add_generation(lab, model)
    with _part(lab, "save"):
        saved = lab.folder / lab.name
        model.save_pretrained(str(saved))
        lab.add_number("saved_files", sorted(path.name for path in saved.iterdir()))
    with _part(lab, "loss"):
        lab.add_number("loss", _losses(model))


def _input_ids() -> Any:
    import torch

    return torch.tensor([INPUT_IDS])


def _logits(model: Any) -> Any:
    import torch

    with torch.no_grad():
        return model(input_ids=_input_ids()).logits[0]


@lru_cache
def _reference_logits(folder: Path) -> Any:
    return _logits(_load(folder)[0].float())


def _add_generation(lab: Lab, model: Any) -> None:
    """Greedy ids, and what the model would sample with: unset values are the same as their defaults."""
    import torch

    ids = _input_ids()
    options = {"max_new_tokens": 5, "do_sample": False, "attention_mask": torch.ones_like(ids)}
    lab.add_number("greedy_ids", model.generate(ids, **options)[0, ids.shape[1] :].tolist())
    config = model.generation_config
    values = {name: getattr(config, name, None) for name in GENERATION_DEFAULTS}
    effective = {
        name: default if values[name] is None else values[name]
        for name, default in GENERATION_DEFAULTS.items()
    }
    lab.add_number("config_generation", values)
    lab.add_number("sampling", effective)


def _losses(model: Any) -> list[float]:
    """The loss before and after one step of plain gradient descent."""
    import torch

    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = model(input_ids=_input_ids(), labels=_input_ids()).loss
    before.backward()
    optimizer.step()
    with torch.no_grad():
        after = model(input_ids=_input_ids(), labels=_input_ids()).loss
    return [float(before.detach()), float(after)]


ALL: Final = tuple(_measure(feature) for feature in FEATURES)
