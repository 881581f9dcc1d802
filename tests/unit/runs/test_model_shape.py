import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import WorkbenchError
from workbench.runs.model_shape import read_shape, shape_of
from workbench.tiny import WEIGHTS

LLAMA = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
    "vocab_size": 1000,
    "tie_word_embeddings": False,
}


def test_the_embedded_model_has_as_many_weights_as_its_file():
    with (WEIGHTS / "model.safetensors").open("rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    weights = 0
    for name, entry in header.items():
        if name != "__metadata__":
            size = 1
            for side in entry["shape"]:
                size *= side
            weights += size
    assert shape_of("tiny").parameters == weights


def test_heads_may_be_wider_than_the_stream():
    shape = read_shape({**LLAMA, "head_dim": 256})
    assert (shape.query, shape.key) == (1024, 512)
    assert read_shape(LLAMA).query == 64


def test_other_names_for_the_same():
    shape = read_shape({"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50257})
    assert (shape.hidden, shape.layers, shape.kv_heads, shape.intermediate) == (768, 12, 12, 3072)
    assert shape.tied
    assert not shape.gated
    assert read_shape({"text_config": LLAMA, "vision_config": {}}) == read_shape(LLAMA)


MIXTRAL = {
    "model_type": "mixtral", "hidden_size": 4096, "intermediate_size": 14336, "num_local_experts": 8,
    "num_experts_per_tok": 2, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
    "vocab_size": 32000, "tie_word_embeddings": False,
}  # fmt: skip
QWEN3_30B = {
    "model_type": "qwen3_moe", "hidden_size": 2048, "intermediate_size": 6144, "moe_intermediate_size": 768,
    "num_experts": 128, "num_experts_per_tok": 8, "num_hidden_layers": 48, "num_attention_heads": 32,
    "num_key_value_heads": 4, "head_dim": 128, "vocab_size": 151936, "tie_word_embeddings": False,
}  # fmt: skip


def test_mixtures_have_as_many_weights_as_their_makers_say():
    assert read_shape(MIXTRAL).parameters == 46_702_792_704
    # 12,288 more are norms of queries and keys.
    assert read_shape(QWEN3_30B).parameters == 30_532_122_624 - 12_288


def test_layers_without_experts_are_counted():
    for named in ({"mlp_only_layers": [0, 5]}, {"first_k_dense_replace": 2}, {"mlp_layer_types": ["sparse"] * 46}):
        shape = read_shape(QWEN3_30B | named)
        assert shape.sparse == 46
        assert sum(linear.layers for linear in shape.linears if linear.name == "up_proj") == 2
    assert read_shape(QWEN3_30B | {"decoder_sparse_step": 2}).sparse == 24
    assert read_shape(QWEN3_30B | {"n_shared_experts": 2}).shared == 2 * 768
    assert {linear.name for linear in read_shape(MIXTRAL).adapted(["all-linear"])} == {
        "q_proj", "k_proj", "v_proj", "o_proj",
    }  # fmt: skip


def test_what_cannot_be_known_is_said(tmp_path):
    with pytest.raises(WorkbenchError, match="not on this machine"):
        shape_of("nobody/has-this-model")
    for config in (
        {**LLAMA, "num_local_experts": 8},
        {**MIXTRAL, "model_type": "llama4_text"},
        {},
        {**LLAMA, "hidden_size": "wide"},
        [],
    ):
        (tmp_path / "config.json").write_text(json.dumps(config))
        with pytest.raises(WorkbenchError, match="size is not known"):
            shape_of(str(tmp_path))


values = st.none() | st.booleans() | st.integers(-5, 5000) | st.text(max_size=5) | st.lists(st.integers(), max_size=2)


@given(
    st.dictionaries(
        st.sampled_from(
            [
                *LLAMA,
                "text_config",
                "head_dim",
                "num_experts",
                "num_experts_per_tok",
                "n_shared_experts",
                "mlp_layer_types",
            ]
        ),
        values,
    )
)
def test_a_damaged_config_breaks_nothing(tmp_path_factory, config):
    folder = tmp_path_factory.getbasetemp()
    (folder / "config.json").write_text(json.dumps({**LLAMA, **config}))
    try:
        shape = shape_of(str(folder))
    except WorkbenchError:
        return
    assert shape.parameters > 0
