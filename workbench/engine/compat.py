"""What the engine leans on inside its libraries: everything that they have not promised to keep.

Each entry says where it is, how it looks (its parameters, or words of the source) and what the engine does with it. It
was read in the versions of `VERSIONS`, to which pyproject.toml pins. `tests/unit/engine/test_compat.py` compares every
entry with the installed library, and looks through the engine for private names that are not listed here.

When you move a pin: run that test, read what it names in the library and in the engine, mend both and the entry, then
run `tests/unit/engine`.
"""

from __future__ import annotations

from dataclasses import dataclass

VERSIONS = {
    "accelerate": "1.15",
    "bitsandbytes": "0.50",
    "peft": "0.21",
    "torch": "2.13",
    "transformers": "5.23",
    "trl": "1.16",
}
"""The minor versions in which the entries below were read."""


@dataclass(frozen=True, slots=True)
class Internal:
    """`name` of `where`, a module or "module:Class".

    `shape` is its parameters, "(self, model, trial)", or words that the source of `where` has in it. `why` says what
    the engine does with it.
    """

    where: str
    name: str
    shape: str
    why: str

    @property
    def package(self) -> str:
        """Its key in `VERSIONS`."""
        return self.where.partition(".")[0].partition(":")[0]


_TRAINER = "transformers.trainer:Trainer"
_DPO = "trl.trainer.dpo_trainer:DPOTrainer"
_KTO = "trl.trainer.kto_trainer:KTOTrainer"
_REWARD = "trl.trainer.reward_trainer:RewardTrainer"
_GRPO = "trl.trainer.grpo_trainer:GRPOTrainer"
_RLOO = "trl.trainer.rloo_trainer:RLOOTrainer"
_LORA = "peft.tuners.lora.layer:LoraLayer"
_LAYER = """hidden_states = self.input_layernorm(hidden_states)
hidden_states = residual + hidden_states
hidden_states = self.post_attention_layernorm(hidden_states)
hidden_states = self.mlp(hidden_states)"""

INTERNALS = (
    # The trainers behind `fast = false` and of kto, grpo, rloo and reward: methods/.
    Internal(_TRAINER, "_save_checkpoint", "(self, model, trial)", "wrapped: a checkpoint is complete or none"),
    Internal(_TRAINER, "_load_from_checkpoint", "(self, resume_from_checkpoint, model)", "replaced: float32, checked"),
    Internal(_TRAINER, "_save", "(self, output_dir, state_dict)", "called with an adapter gathered from FSDP's shards"),
    Internal(_TRAINER, "save_model", "(self, output_dir, _internal_call)", "overridden for FSDP"),
    Internal(_TRAINER, "_get_train_sampler", "(self, train_dataset)", "replaced: longest pairs first"),
    Internal(_TRAINER, "_prepare_inputs", "(self, inputs)", "called by the reward model's evaluation"),
    Internal(_TRAINER, "gather_function", "self.gather_function(losses", "replaced: the loss of our own share alone"),
    Internal(_TRAINER, "log_history", "self.state.log_history.append(", "the last entry is dropped after it was told"),
    Internal(
        _DPO, "_compute_loss", "(self, model, inputs, return_outputs)", "replaced by the losses of simpo and orpo"
    ),
    Internal(
        _DPO, "_prepare_dataset", "(self, dataset, processing_class, args, dataset_name)", "replaced: ids are there"
    ),
    Internal(
        _KTO, "_prepare_dataset", "(self, dataset, processing_class, args, dataset_name)", "replaced: ids are there"
    ),
    Internal(
        _REWARD, "_prepare_dataset", "(self, dataset, processing_class, args, dataset_name)", "replaced, as above"
    ),
    Internal(_DPO, "_metrics", 'self._metrics[mode]["rewards/margins"]', "weighted by pairs before they are logged"),
    Internal(_KTO, "_metrics", 'self._metrics[mode]["kl"]', "renamed: it is a reference point, no distance"),
    Internal(_DPO, "_total_train_tokens", "self._total_train_tokens +=", "goes on from a checkpoint"),
    Internal(
        _DPO, "fused_lm_head", 'outputs = ("log_probs", "entropy", "mean_logits", "is_top1")', "a forward's outputs"
    ),
    Internal(_DPO, "REFERENCE", 'add_adapter("ref", ', "the name of the frozen copy of an adapter"),
    Internal(_GRPO, "_generate_and_score_completions", "(self, inputs)", "wrapped: rows bring their prompts' ids"),
    Internal(_RLOO, "_generate_and_score_completions", "(self, inputs)", "wrapped, as above"),
    Internal(_GRPO, "_tokenize_prompts", "(self, prompts)", "replaced: prompts as the workbench renders them"),
    Internal(_RLOO, "_tokenize_prompts", "(self, prompts)", "replaced, as above"),
    Internal(
        "accelerate:Accelerator", "gather", "(self, tensor)", "replaced: processes put sums together when they log"
    ),
    Internal(
        "accelerate:Accelerator", "gather_for_metrics", "(self, input_data, use_gather_object)", "replaced, as above"
    ),
    Internal(
        "accelerate.data_loader",
        "prepare_data_loader",
        "(dataloader, device, num_processes, process_index, split_batches, put_on_device, rng_types, dispatch_batches, "
        "even_batches, slice_fn_for_dispatch, use_seedable_sampler, data_seed, non_blocking, use_stateful_dataloader, "
        "torch_device_mesh)",
        "called with one process: our batches are shared out already",
    ),
    # Models and adapters: model/, training/checkpoint_files.py, fast/lora.py.
    Internal(
        "transformers.configuration_utils:PreTrainedConfig", "_commit_hash", '"_commit_hash"', "a model's revision"
    ),
    Internal(
        "transformers.tokenization_utils_base:PreTrainedTokenizerBase",
        "chat_control_tokens",
        "self.chat_control_tokens = ",
        "set while a conversation is rendered: tokens typed into a turn stay text",
    ),
    Internal(
        "transformers.utils.chat_template_utils",
        "ImmutableSandboxedEnvironment",
        "jinja_env = ImmutableSandboxedEnvironment(",
        "replaced: products and powers have bounds",
    ),
    Internal(
        "bitsandbytes.nn:Linear4bit", "support_avx512bf16_for_cpu", "self.support_avx512bf16_for_cpu", "set to False"
    ),
    Internal("bitsandbytes.backends.default.ops", "torch.compile", "torch.compile(", "swapped while it is imported"),
    Internal(
        "bitsandbytes.functional",
        "dequantize_4bit",
        "(A, quant_state, absmax, out, blocksize, quant_type)",
        "fast LoRA",
    ),
    Internal(
        "peft",
        "set_peft_model_state_dict",
        "(model, peft_model_state_dict, adapter_name, ignore_mismatched_sizes, low_cpu_mem_usage)",
        "its result names missing and unexpected keys: what does not fit is refused",
    ),
    Internal(
        _LORA, "reset_lora_parameters", "(self, adapter_name, init_lora_weights)", "draws an adapter anew in float32"
    ),
    Internal(_LORA, "lora_variant", "self.lora_variant", "read: a layer with DoRA stays PEFT's"),
    Internal(_LORA, "lora_bias", "self.lora_bias", "read: a layer with an adapter's bias stays PEFT's"),
    Internal(_LORA, "_disable_adapters", "self._disable_adapters = False", "set for the reference's forward"),
    Internal(
        "peft.tuners.lora.layer:Linear", "forward", "(self, x, *args, **kwargs)", "replaced: one operation a layer"
    ),
    Internal("peft.tuners.lora.bnb:Linear4bit", "forward", "(self, x, *args, **kwargs)", "replaced, as above"),
    Internal(
        "torch.distributed.algorithms._checkpoint.checkpoint_wrapper",
        "_checkpoint_wrapped_module",
        '_CHECKPOINT_WRAPPED_MODULE = "_checkpoint_wrapped_module"',
        "taken out of the names of an adapter's weights",
    ),
    # Experts in 4 bits: model/experts.py.
    Internal(
        "transformers.quantizers.auto",
        "AUTO_QUANTIZER_MAPPING",
        '"bitsandbytes_4bit": Bnb4BitHfQuantizer',
        "ours is put there while a model is loaded",
    ),
    Internal(
        "transformers.quantizers.quantizer_bnb_4bit:Bnb4BitHfQuantizer",
        "_process_model_after_weight_loading",
        "(self, model, **kwargs)",
        "overridden: what was packed becomes a parametrization",
    ),
    Internal(
        "transformers.quantizers.quantizer_bnb_4bit:Bnb4BitHfQuantizer",
        "param_needs_quantization",
        "(self, model, param_name, **kwargs)",
        "overridden: matrices of experts do too",
    ),
    Internal(
        "transformers.integrations.bitsandbytes:Bnb4bitQuantize",
        "convert",
        "(self, input_dict, full_layer_name, model, **kwargs)",
        "overridden: packs matrices of experts",
    ),
    Internal(
        "transformers.integrations.moe",
        "_grouped_linear",
        "(input, weight, offs, bias, is_transposed)",
        "the states of all experts through the matrices of each",
    ),
    Internal(
        "transformers.integrations.moe", "_apply_gate", "experts_class._apply_gate = ", "what experts do between both"
    ),
    Internal(
        "bitsandbytes.nn.parametrize",
        "replace_parameter_4bit_prequantized",
        "(module, param_name, qs_dict, device)",
        "how experts stand in their module; the one in the list of parametrizations has `quant_state`",
    ),
    # Shared prompts: fast/.
    Internal(
        "transformers.configuration_utils:PreTrainedConfig",
        "_attn_implementation",
        "self._attn_implementation",
        "read and put back while layouts are tried",
    ),
    Internal(
        "transformers.integrations.sdpa_attention",
        "sdpa_attention_forward",
        "(module, query, key, value, attention_mask, dropout, scaling, is_causal, position_bias, cache, **kwargs)",
        "what our attention does for plain rows",
    ),
    Internal(
        "transformers.integrations.sdpa_attention", "repeat_kv", "(hidden_states, n_rep)", "heads that share keys"
    ),
    Internal(
        "transformers.integrations.flex_attention",
        "flex_attention_forward",
        "(module, query, key, value, attention_mask, scaling, softcap, s_aux, position_bias, **kwargs)",
        "what our attention does on CUDA",
    ),
    Internal(
        "torch._inductor.kernel.flex.flex_attention",
        "bwd_BLOCK_M1",
        'if k.startswith("bwd_"):',
        "kernel_options with this prefix set the blocks of the backward on cards with little shared memory",
    ),
    Internal(
        "torch.nn.attention.flex_attention:BlockMask",
        "from_kv_blocks",
        "(kv_num_blocks, kv_indices, full_kv_num_blocks, full_kv_indices, BLOCK_SIZE, mask_mod, seq_lengths, "
        "compute_q_blocks, dq_write_order, dq_write_order_full, dq_kv_order)",
        "the mask of a line, from where its rows begin and end",
    ),
    Internal(
        "transformers.modeling_utils:PreTrainedModel",
        "_supports_sdpa",
        "_supports_sdpa: bool = False",
        "tells a family that knows its own attention alone from a user who asked for it",
    ),
    Internal(
        "transformers.models.gemma2.modeling_gemma2",
        "eager_attention_forward",
        "(module, query, key, value, attention_mask, dropout, scaling, softcap, **kwargs)",
        "a family's own attention, by this name beside its layers, for what is no pairs",
    ),
    Internal(
        "torch.ops.aten",
        "_scaled_dot_product_flash_attention_for_cpu",
        "(query, key, value, dropout_p, is_causal, attn_mask, scale)",
        "the attention of a row, with the log-sum-exp that its backward takes",
    ),
    Internal(
        "torch.ops.aten",
        "_scaled_dot_product_flash_attention_for_cpu_backward",
        "(grad_out, query, key, value, out, logsumexp, dropout_p, is_causal, attn_mask, scale)",
        "its backward",
    ),
    # Layers told by their class name and computed by hand on the CPU: fast/decoder.py.
    Internal("transformers.models.llama.modeling_llama:LlamaDecoderLayer", "LlamaDecoderLayer", _LAYER, "by hand"),
    Internal("transformers.models.mistral.modeling_mistral:MistralDecoderLayer", "MistralDecoderLayer", _LAYER, "same"),
    Internal("transformers.models.qwen2.modeling_qwen2:Qwen2DecoderLayer", "Qwen2DecoderLayer", _LAYER, "same"),
    Internal("transformers.models.qwen3.modeling_qwen3:Qwen3DecoderLayer", "Qwen3DecoderLayer", _LAYER, "same"),
)
