"""Fine-tune with transformers alone, or an adapter of peft: Trainer, no trl."""

from __future__ import annotations

import argparse

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments

TEXTS = ("The sky is blue during the day.", "Grass is green and grows.", "Water is essential.")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--lora", action="store_true")
    parser.add_argument("--resume")
    options = parser.parse_args()
    model = AutoModelForCausalLM.from_pretrained(options.model, torch_dtype=torch.float32)
    if options.lora:
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(model, LoraConfig(r=4, task_type="CAUSAL_LM"))
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    rows = [{"input_ids": ids, "labels": ids} for ids in (tokenizer(text)["input_ids"] for text in TEXTS)]
    arguments = TrainingArguments(
        output_dir=options.out,
        max_steps=3,
        per_device_train_batch_size=1,
        save_strategy="steps",
        save_steps=1,
        learning_rate=1e-3,
        weight_decay=0.01,
        report_to=[],
        use_cpu=True,
    )
    trainer = Trainer(model=model, args=arguments, train_dataset=rows)
    trainer.train(resume_from_checkpoint=options.resume)
    trainer.save_model(options.out)
    tokenizer.save_pretrained(options.out)


if __name__ == "__main__":
    main()
