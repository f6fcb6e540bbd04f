"""Relations that hold in every stack: what should be equal is done both ways and compared."""

from __future__ import annotations

from typing import Final

from tunematrix.harness.measures.relations import agreements, continuations, spellings, training

# What rests on the attention and the loss of an architecture.
OF_ARCHITECTURES: Final = (
    agreements.relation_padding,
    agreements.relation_packing,
    agreements.relation_generate,
    training.relation_accumulation,
    training.relation_training_loss,
    training.relation_weight_decay,
    training.relation_checkpointing,
    continuations.relation_saved_model,
)
ALL: Final = (*training.ALL, *continuations.ALL, *agreements.ALL, *spellings.ALL)
