"""What runs and pairs may give to chat templates."""

from __future__ import annotations

RESERVED = frozenset(
    {
        *("conversation", "messages", "tools", "chat_template", "add_generation_prompt", "continue_final_message"),
        *("tokenize", "padding", "truncation", "max_length", "return_tensors", "return_dict"),
        *("return_assistant_tokens_mask", "tokenizer_kwargs", "processor_kwargs", "sanitize_control_tokens"),
        *("load_audio_from_video", "load_kwargs"),
    }
)
"""What a chat template may not be given by run or pair: how turns are rendered, not to what; tools have a column."""
