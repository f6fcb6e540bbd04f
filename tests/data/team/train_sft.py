"""Fine-tune with LoRA."""

import argparse

from datasets import load_dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer


class Printer(TrainerCallback):
    def on_log(self, args, state, control, logs=None, **kwargs):
        print("log", logs)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", default="data/chat.jsonl")
    parser.add_argument("--output", required=True)
    parser.add_argument("--max_steps", type=int, default=100)
    parser.add_argument("--save_steps", type=int, default=50)
    parser.add_argument("--resume_from_checkpoint")
    args = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model = AutoModelForCausalLM.from_pretrained(args.model)
    data = load_dataset("json", data_files=args.data, split="train")
    config = SFTConfig(
        output_dir=args.output,
        max_steps=args.max_steps,
        save_steps=args.save_steps,
        per_device_train_batch_size=2,
        logging_steps=1,
        learning_rate=1e-3,
        report_to=[],
        seed=1,
    )
    trainer = SFTTrainer(
        model=model,
        args=config,
        train_dataset=data,
        processing_class=tokenizer,
        peft_config=LoraConfig(r=4, task_type="CAUSAL_LM"),
        callbacks=[Printer()],
    )
    trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
    trainer.save_model(args.output)


if __name__ == "__main__":
    main()
