"""What the calls of fine-tuning code return on models and files, and what misuse raises."""

# ruff: noqa: PLW0108  # lambdas, so that a name which a stack lacks is looked up where the call is guarded

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any, Final

from tunematrix.harness.measures.calls.described import Exactly, describe_calls, file_names, home
from tunematrix.harness.measures.lab import Lab
from tunematrix.harness.measures.texts import CHATS, TEXTS

TEXT: Final = TEXTS[0]["text"]
SHORT: Final = {"do_sample": False, "min_new_tokens": 4, "max_new_tokens": 4}


def call_model(lab: Lab) -> None:
    import torch

    model, tokenizer = lab.load().eval(), lab.load_tokenizer()
    inputs = dict(tokenizer(TEXT, return_tensors="pt"))
    labels = {**inputs, "labels": inputs["input_ids"]}
    describe_calls(
        lab,
        {
            "loaded": lambda: model,
            "forward": lambda: model(**inputs),
            "forward_labels": lambda: model(**labels),
            "forward_tuple": lambda: model(**labels, return_dict=False),
            "forward_no_cache": lambda: model(**inputs, use_cache=False),
            "forward_hidden": lambda: model(**inputs, output_hidden_states=True),
            "forward_first": lambda: model(**labels)[0],
            "forward_slice": lambda: model(**inputs)[:1],
            "cache_layer": lambda: model(**inputs).past_key_values[0],
            "cache_length": lambda: model(**inputs).past_key_values.get_seq_length(),
            "cache_to_legacy": lambda: model(**inputs).past_key_values.to_legacy_cache(),
            "base_model": lambda: model.base_model,
            "input_embeddings": lambda: model.get_input_embeddings(),
            "resize_embeddings": lambda: copy.deepcopy(model).resize_token_embeddings(520),
            "num_parameters": lambda: model.num_parameters(),
            "device": lambda: model.device,
            "checkpointing_enable": lambda: copy.deepcopy(model).gradient_checkpointing_enable(),
            "input_grads_enable": lambda: copy.deepcopy(model).enable_input_require_grads(),
            "config": lambda: model.config,
            "wrong_argument": lambda: model(**inputs, no_such_argument=1),
            "wrong_no_inputs": lambda: model(),
            "wrong_two_inputs": lambda: model(**inputs, inputs_embeds=torch.zeros(1, 2, 32)),
            "wrong_text": lambda: model(TEXT),
            "wrong_list": lambda: model(input_ids=[[1, 2]]),
            "wrong_dtype": lambda: model(input_ids=torch.zeros(1, 2)),
            "wrong_token": lambda: model(input_ids=torch.tensor([[10**6]])),
            "wrong_labels": lambda: model(**inputs, labels=torch.zeros(1, 2, dtype=torch.long)),
        },
    )


def call_generate(lab: Lab) -> None:
    import transformers

    model, tokenizer = lab.load().eval(), lab.load_tokenizer()
    inputs = dict(tokenizer(TEXT, return_tensors="pt"))

    def generate(**options: Any) -> Any:
        return model.generate(**{**inputs, **SHORT, **options})

    detailed = {"return_dict_in_generate": True, "output_scores": True}
    config = model.generation_config
    describe_calls(
        lab,
        {
            "config": lambda: config,
            "config_dict": lambda: config.to_dict(),
            "config_difference": lambda: config.to_diff_dict(),
            "ids": generate,
            "dict": lambda: generate(return_dict_in_generate=True),
            "dict_scores": lambda: generate(**detailed),
            "dict_logits": lambda: generate(return_dict_in_generate=True, output_logits=True),
            "dict_beams": lambda: generate(**detailed, num_beams=2),
            "samples": lambda: generate(do_sample=True, num_return_sequences=2),
            "given_config": lambda: generate(
                generation_config=transformers.GenerationConfig(max_new_tokens=4)
            ),
            "without_inputs": lambda: model.generate(**SHORT),
            "update_unused": lambda: copy.deepcopy(config).update(no_such_option=1),
            "wrong_argument": lambda: generate(no_such_argument=1),
            "wrong_length": lambda: generate(max_new_tokens=0, min_new_tokens=0),
            "wrong_temperature": lambda: generate(do_sample=True, temperature=0.0),
            "wrong_sequences": lambda: generate(num_return_sequences=2),
            "wrong_text": lambda: model.generate(TEXT),
            "wrong_list": lambda: generate(input_ids=[[1, 2]]),
            "wrong_config": lambda: transformers.GenerationConfig(num_beams=1, num_return_sequences=2),
            "wrong_config_save": lambda: transformers.GenerationConfig(
                do_sample=False, temperature=0.5
            ).save_pretrained(str(home(lab))),
        },
    )


def call_pipeline(lab: Lab) -> None:
    import transformers

    chat = CHATS[0]["messages"][:1]
    generator = transformers.pipeline("text-generation", model=lab.load(), tokenizer=lab.load_tokenizer())
    describe_calls(
        lab,
        {
            "made": lambda: generator,
            "one": lambda: generator(TEXT, **SHORT),
            "several": lambda: generator([TEXT, TEXT], **SHORT),
            "samples": lambda: generator(TEXT, **{**SHORT, "do_sample": True}, num_return_sequences=2),
            "new_text": lambda: generator(TEXT, **SHORT, return_full_text=False),
            "ids": lambda: generator(TEXT, **SHORT, return_tensors=True),
            "chat": lambda: generator(chat, **SHORT),
            "chats": lambda: generator([chat, chat], **SHORT),
            "wrong_none": lambda: generator(None, **SHORT),
            "wrong_argument": lambda: generator(TEXT, **SHORT, no_such_argument=1),
            "wrong_task": lambda: transformers.pipeline("no-such-task"),
            "wrong_no_tokenizer": lambda: transformers.pipeline("text-generation", model=lab.load())(TEXT),
        },
    )


def _changed_copy(lab: Lab, name: str, **changes: Any) -> str:
    """A copy of the model's folder whose configuration has ``changes``."""
    folder = home(lab) / name
    shutil.copytree(lab.model, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    return str(folder)


def call_loading(lab: Lab) -> None:
    import transformers

    path, missing, causal = str(lab.model), str(home(lab) / "none"), transformers.AutoModelForCausalLM
    config = transformers.AutoConfig.from_pretrained(path)
    classifier = transformers.AutoModelForSequenceClassification
    damaged = _changed_copy(lab, "damaged")
    (Path(damaged) / "model.safetensors").write_bytes(b"no weights")
    bare = _changed_copy(lab, "bare")
    (Path(bare) / "model.safetensors").unlink()

    def dtype_entries() -> dict[str, Any]:
        return {key: value for key, value in config.to_dict().items() if key.endswith("dtype")}

    describe_calls(
        lab,
        {
            "config": lambda: config,
            "config_dtype": lambda: config.dtype,
            "config_torch_dtype": lambda: config.torch_dtype,
            "config_dtype_entries": dtype_entries,
            "config_use_return_dict": lambda: config.use_return_dict,
            "info": lambda: causal.from_pretrained(path, output_loading_info=True),
            "info_new_head": lambda: classifier.from_pretrained(path, output_loading_info=True),
            "dtype_auto": lambda: Exactly(str(causal.from_pretrained(path, torch_dtype="auto").dtype)),
            "dtype_text": lambda: Exactly(str(causal.from_pretrained(path, torch_dtype="bfloat16").dtype)),
            "from_config": lambda: causal.from_config(config),
            "slow_tokenizer": lambda: transformers.AutoTokenizer.from_pretrained(path, use_fast=False),
            "set_seed": lambda: transformers.set_seed(1),
            "wrong_folder": lambda: causal.from_pretrained(missing),
            "wrong_no_weights": lambda: causal.from_pretrained(bare),
            "wrong_config_folder": lambda: transformers.AutoConfig.from_pretrained(missing),
            "wrong_tokenizer_folder": lambda: transformers.AutoTokenizer.from_pretrained(missing),
            "wrong_weights": lambda: causal.from_pretrained(damaged),
            "wrong_shape": lambda: causal.from_pretrained(_changed_copy(lab, "shape", hidden_size=64)),
            "wrong_kind": lambda: causal.from_pretrained(_changed_copy(lab, "kind", model_type="no-such")),
            "wrong_argument": lambda: causal.from_pretrained(path, no_such_argument=1),
            "wrong_dtype": lambda: causal.from_pretrained(path, torch_dtype="no such dtype"),
            "wrong_attention": lambda: causal.from_pretrained(path, attn_implementation="no such"),
            "wrong_class": lambda: transformers.AutoModelForSeq2SeqLM.from_pretrained(path),
        },
    )


def call_saving(lab: Lab) -> None:
    import transformers

    model, tokenizer, folder = lab.load(), lab.load_tokenizer(), home(lab)
    file = folder / "file"
    file.write_text("")
    index = folder / "sharded" / "model.safetensors.index.json"

    def save(name: str, **options: Any) -> Any:
        model.save_pretrained(str(folder / name), **options)
        return file_names(folder / name)

    describe_calls(
        lab,
        {
            "model": lambda: model.save_pretrained(str(folder / "model")),
            "model_files": lambda: file_names(folder / "model"),
            "sharded_files": lambda: save("sharded", max_shard_size="50KB"),
            "sharded_index": lambda: Exactly(sorted(json.loads(index.read_text()))),
            "pickled_files": lambda: save("pickled", safe_serialization=False),
            "state_dict": lambda: Exactly([type(model.state_dict()).__name__, len(model.state_dict())]),
            "config_saved": lambda: model.config.save_pretrained(str(folder / "config")),
            "config_keys": lambda: Exactly(sorted(json.loads((folder / "model/config.json").read_text()))),
            "config_json": lambda: model.config.to_json_string(),
            "generation_config": lambda: model.generation_config.save_pretrained(str(folder / "generation")),
            "tokenizer": lambda: tokenizer.save_pretrained(str(folder / "tokenizer")),
            "tokenizer_files": lambda: file_names(folder / "tokenizer"),
            "reloaded": lambda: transformers.AutoTokenizer.from_pretrained(str(folder / "tokenizer")),
            "wrong_file": lambda: model.save_pretrained(str(file)),
            "wrong_tokenizer_file": lambda: tokenizer.save_pretrained(str(file)),
            "wrong_shard_size": lambda: model.save_pretrained(str(folder / "bad"), max_shard_size="abc"),
            "wrong_none": lambda: model.save_pretrained(None),
        },
    )


def call_hub(lab: Lab) -> None:
    """Calls of huggingface_hub that never ask a server."""
    import huggingface_hub as hub

    cache = home(lab) / "cache"
    cache.mkdir()
    name, local = "someone/nothing", {"cache_dir": str(cache), "local_files_only": True}
    describe_calls(
        lab,
        {
            "scan": lambda: hub.scan_cache_dir(cache),
            "scan_repos": lambda: hub.scan_cache_dir(cache).repos,
            "not_cached": lambda: hub.try_to_load_from_cache(name, "config.json", cache_dir=str(cache)),
            "url": lambda: hub.hf_hub_url(name, "config.json"),
            "card": lambda: hub.ModelCard("---\nlicense: mit\n---\nText").data,
            "card_dict": lambda: hub.ModelCard("---\nlicense: mit\n---\nText").data.to_dict(),
            "wrong_cache": lambda: hub.scan_cache_dir(cache / "none"),
            "wrong_missing_file": lambda: hub.hf_hub_download(name, "config.json", **local),
            "wrong_missing_repo": lambda: hub.snapshot_download(name, **local),
            "wrong_name": lambda: hub.hf_hub_download("no/such/name", "config.json", **local),
            "wrong_name_empty": lambda: hub.snapshot_download("", **local),
            "wrong_argument": lambda: hub.snapshot_download(name, no_such_argument=1, **local),
            "wrong_card": lambda: hub.ModelCard("---\nlicense: [\n---\n"),
        },
    )


ALL: Final = (call_model, call_generate, call_pipeline, call_loading, call_saving, call_hub)
