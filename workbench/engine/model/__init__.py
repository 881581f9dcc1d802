"""A model as it is used: loaded, its tokenizer and token ids, its device, its arithmetic without a gradient."""
