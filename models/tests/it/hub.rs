//! Settings of `config.json`: what they mean, and every refusal by name.

use crate::common::{Memory, grown};
use hardtack_format::Role;
use hardtack_format::spec::*;
use hardtack_models::{Recipe, Settings, TensorSource, recipe};
use serde_json::{Value, json};

fn llama() -> Value {
    json!({
        "model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 80, "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5, "hidden_act": "silu", "tie_word_embeddings": false
    })
}

fn with(mut base: Value, extra: Value) -> Value {
    for (key, value) in extra.as_object().expect("object") {
        base[key] = value.clone();
    }
    base
}

fn qwen3_moe() -> Value {
    let extra = json!({
        "model_type": "qwen3_moe", "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32,
        "norm_topk_prob": true
    });
    with(llama(), extra)
}

fn deepseek() -> Value {
    let extra = json!({
        "model_type": "deepseek_v2", "num_key_value_heads": 4, "kv_lora_rank": 24, "q_lora_rank": null,
        "qk_nope_head_dim": 16, "qk_rope_head_dim": 16, "v_head_dim": 12, "moe_intermediate_size": 32,
        "n_routed_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 2, "first_k_dense_replace": 1,
        "rms_norm_eps": 1e-6
    });
    with(llama(), extra)
}

fn gpt_oss() -> Value {
    let extra = json!({
        "model_type": "gpt_oss", "head_dim": 16, "num_local_experts": 3, "num_experts_per_tok": 2, "attention_bias": true,
        "swiglu_limit": 7.0, "sliding_window": 128, "layer_types": ["sliding_attention", "full_attention"],
        "rope_theta": 150000,
        "rope_scaling": {
            "rope_type": "yarn", "factor": 32.0, "beta_fast": 32.0, "beta_slow": 1.0, "truncate": false,
            "original_max_position_embeddings": 4096
        },
        "quantization_config": {"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]}
    });
    with(llama(), extra)
}

fn accepted(config: &Value) -> (Recipe, Memory) {
    grown(Settings::HuggingFace(config)).expect("accepted")
}

fn refused(config: &Value) -> String {
    grown(Settings::HuggingFace(config)).expect_err("refused")
}

fn find(tensors: &[TensorSource], role: Role) -> Option<&TensorSource> {
    tensors.iter().find(|tensor| tensor.role == role)
}

/// Frequencies and the factor on cosines and sines.
fn rope(config: &Value) -> (Vec<f32>, f32) {
    let (recipe, memory) = accepted(config);
    let tensor = find(&recipe.globals, Role::RopeFrequencies).expect("frequencies");
    (tensor.load(&memory).expect("literal"), recipe.spec.layers[0].attention.rope_scale)
}

fn assert_close(found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((f64::from(*found) - expected).abs() <= 3e-7 * expected, "{found} {expected}");
    }
}

/// Expected values: the functions of transformers 5.23's `modeling_rope_utils.py` themselves, run
/// in float64 over numpy.
#[test]
fn frequencies_are_those_of_transformers() {
    let scaled = |scaling: Value| {
        with(llama(), json!({ "head_dim": 16, "rope_scaling": scaling, "rope_theta": 1e4 }))
    };
    let halved = with(llama(), json!({ "head_dim": 8 }));
    assert_close(&rope(&halved).0, &[1.0, 0.1, 0.01, 0.001]);
    let linear = with(halved, json!({ "rope_scaling": {"type": "linear", "factor": 4.0} }));
    assert_close(&rope(&linear).0, &[0.25, 0.025, 0.0025, 0.00025]);

    let llama3 = json!({
        "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64
    });
    let (found, factor) = rope(&scaled(llama3));
    let slow = [0.0001767766953, 3.428102196e-05, 6.647869871e-06, 1.289173172e-06];
    assert_close(&found[..4], &[1.0, 0.07940300918, 0.004700753866, 0.0009115830922]);
    assert_close(&found[4..], &slow);
    assert_eq!(factor, 1.0);

    let (found, factor) = rope(&gpt_oss());
    assert_close(&found[..4], &[1.0, 0.2254180002, 0.05081327482, 0.00679495949]);
    assert_close(
        &found[4..],
        &[0.0004564839192, 1.818833668e-05, 4.099978482e-06, 9.242089502e-07],
    );
    assert_close(&[factor], &[1.3465735902799727]);

    // Without a factor it is the ratio of the contexts; a given attention factor is kept.
    let stretched = json!({
        "type": "yarn", "rope_theta": 1000000.0, "attention_factor": 1.25, "original_max_position_embeddings": 8192
    });
    let (found, factor) =
        rope(&with(scaled(stretched), json!({ "max_position_embeddings": 32768 })));
    assert_close(&found[..4], &[1.0, 0.177827941, 0.0316227766, 0.004217559939]);
    assert_close(&found[4..], &[0.0005, 4.445698525e-05, 7.90569415e-06, 1.405853313e-06]);
    assert_eq!(factor, 1.25);
}

#[test]
fn deepseek_sharpens_scores_and_not_the_rotation() {
    let yarn = |mscale: f64| {
        json!({ "rope_scaling": {
            "type": "yarn", "factor": 40, "beta_fast": 32, "beta_slow": 1, "mscale": mscale, "mscale_all_dim": 0.707,
            "original_max_position_embeddings": 4096
        }})
    };
    let config = with(deepseek(), yarn(0.707));
    let (found, factor) = rope(&config);
    assert_close(&found[..4], &[1.0, 0.316227766, 0.1, 0.02391472481]);
    assert_close(&found[4..], &[0.005125, 0.0008498621212, 2.5e-05, 7.90569415e-06]);
    assert_eq!(factor, 1.0);
    let scale = accepted(&config).0.spec.layers[0].attention.score_scale;
    // (0.1 * 0.707 * ln 40 + 1)^2 / sqrt(32)
    assert_close(&[scale], &[0.11472138679292612 * 6f64.sqrt()]);
    assert_close(&[rope(&with(deepseek(), yarn(1.0))).1], &[1.0857263992561355]);
}

#[test]
fn both_spellings_of_rope_mean_the_same() {
    let scaling = json!({
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64
    });
    let old = with(llama(), json!({ "rope_theta": 500000.0, "rope_scaling": scaling }));
    let new = with(
        llama(),
        json!({ "rope_parameters": with(scaling, json!({ "rope_theta": 500000.0 })) }),
    );
    assert_eq!(rope(&old), rope(&new));
    let older = with(llama(), json!({ "rope_theta": 10000.0, "rope_scaling": null }));
    assert_eq!(rope(&older), rope(&llama()));
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let dynamic = json!({ "rope_scaling": {"type": "dynamic", "factor": 2.0} });
    let longrope = json!({ "rope_parameters": {"rope_type": "longrope", "rope_theta": 1e4} });
    let partial =
        json!({ "rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5} });
    let olmoe = with(qwen3_moe(), json!({ "model_type": "olmoe", "clip_qkv": 8.0 }));
    for (config, expected) in [
        (
            with(llama(), json!({ "model_type": "mamba" })),
            "model_type is \"mamba\", which is not supported; known are",
        ),
        (with(llama(), json!({ "model_type": null })), "setting model_type is missing"),
        (with(llama(), json!({ "hidden_act": "gelu" })), "setting hidden_act is \"gelu\""),
        (
            with(llama(), dynamic),
            "setting rope_scaling.type is \"dynamic\", which is not supported; supported: default",
        ),
        (with(llama(), longrope), "setting rope_parameters.rope_type is \"longrope\""),
        (with(llama(), partial), "setting rope_parameters.partial_rotary_factor is 0.5"),
        (
            with(llama(), json!({ "rope_scaling": {"factor": 2.0} })),
            "setting rope_scaling.rope_type is missing",
        ),
        (
            with(llama(), json!({ "partial_rotary_factor": 0.5 })),
            "setting partial_rotary_factor is 0.5",
        ),
        (
            with(llama(), json!({ "quantization_config": {"quant_method": "gptq"} })),
            "setting quantization_config is",
        ),
        (
            with(llama(), json!({ "attn_logit_softcapping": 50.0 })),
            "setting attn_logit_softcapping is 50.0",
        ),
        (with(llama(), json!({ "sliding_window": 128 })), "setting sliding_window is 128"),
        (with(llama(), json!({ "logits_scaling": 8.0 })), "setting logits_scaling is 8.0"),
        (with(llama(), json!({ "rms_norm_eps": null })), "setting rms_norm_eps is missing"),
        (
            with(llama(), json!({ "hidden_size": "64" })),
            "setting hidden_size: expected a whole number",
        ),
        (
            with(llama(), json!({ "hidden_size": -64 })),
            "setting hidden_size: expected a whole number",
        ),
        (
            with(llama(), json!({ "num_attention_heads": 0 })),
            "setting num_attention_heads: expected at least 1, found 0",
        ),
        (
            with(llama(), json!({ "num_hidden_layers": 5000 })),
            "setting num_hidden_layers: expected at most 1024",
        ),
        (with(llama(), json!({ "head_dim": 15 })), "the network does not fit the format"),
        (with(llama(), json!({ "num_key_value_heads": 3 })), "the network does not fit the format"),
        (
            with(qwen3_moe(), json!({ "mlp_only_layers": [7] })),
            "setting mlp_only_layers: expected numbers of layers",
        ),
        (
            with(qwen3_moe(), json!({ "decoder_sparse_step": 0 })),
            "setting decoder_sparse_step: expected at least 1",
        ),
        (
            with(qwen3_moe(), json!({ "num_experts_per_tok": 9 })),
            "the network does not fit the format",
        ),
        (olmoe, "setting clip_qkv is 8.0"),
        (
            with(deepseek(), json!({ "topk_method": "group_limited_greedy" })),
            "setting topk_method is",
        ),
        (
            with(deepseek(), json!({ "scoring_func": "sigmoid" })),
            "setting scoring_func is \"sigmoid\"",
        ),
        (with(deepseek(), json!({ "moe_layer_freq": 2 })), "setting moe_layer_freq is 2"),
        (with(deepseek(), json!({ "norm_topk_prob": true })), "setting norm_topk_prob is true"),
        (with(deepseek(), json!({ "rms_norm_eps": 1e-5 })), "setting rms_norm_eps is 0.00001"),
        (with(deepseek(), json!({ "attention_bias": true })), "setting attention_bias is true"),
        (
            with(gpt_oss(), json!({ "quantization_config": {"quant_method": "awq"} })),
            "quantization_config.quant_method",
        ),
        (
            with(gpt_oss(), json!({ "layer_types": ["full_attention"] })),
            "setting layer_types: expected one entry",
        ),
        (
            with(gpt_oss(), json!({ "layer_types": ["linear_attention", "full_attention"] })),
            "setting layer_types is",
        ),
        (with(gpt_oss(), json!({ "rope_scaling": null })), "setting rope_scaling is missing"),
        (
            with(
                qwen3_moe(),
                json!({
                    "model_type": "qwen2_moe", "shared_expert_intermediate_size": 8, "use_sliding_window": true
                }),
            ),
            "setting use_sliding_window is true",
        ),
    ] {
        let found = refused(&config);
        assert!(found.contains(expected), "{found}\n{expected}");
    }
    assert!(
        refused(&json!({ "model_type": "mamba" }))
            .contains("granitemoe, llama, mistral, mixtral, olmoe")
    );
}

#[test]
fn tensors_are_neither_missing_nor_left_over_nor_of_another_shape() {
    let (_, memory) = accepted(&llama());
    let message = |memory: &Memory| {
        recipe(Settings::HuggingFace(&llama()), memory).expect_err("refused").to_string()
    };
    let mut other = memory.clone();
    other.floats.remove("model.layers.1.mlp.up_proj.weight");
    let expected =
        "tensor model.layers.1.mlp.up_proj.weight (up) is missing; expected shape [96, 64]";
    assert_eq!(message(&other), expected);
    let mut other = memory.clone();
    other.add("model.layers.1.self_attn.q_proj.bias", &[64], |_| 0.0);
    let expected = "tensor model.layers.1.self_attn.q_proj.bias [64] has no place in a llama \
        network with these settings";
    assert_eq!(message(&other), expected);
    let mut other = memory.clone();
    other.add("lm_head.weight", &[79, 64], |_| 0.0);
    assert_eq!(
        message(&other),
        "tensor lm_head.weight (head): expected shape [80, 64], found [79, 64]"
    );

    // The recipe's own reads check again: a checkpoint may have been swapped since.
    let (recipe, _) = accepted(&llama());
    let head = find(&recipe.globals, Role::Head).expect("head");
    let error = head.load(&other).expect_err("refused").to_string();
    assert_eq!(error, "tensor lm_head.weight: expected shape [80, 64], found [79, 64]");
    let error = head.load(&Memory::default()).expect_err("refused").to_string();
    assert_eq!(error, "tensor lm_head.weight is missing; expected shape [80, 64]");
}

#[test]
fn copies_that_mean_nothing_are_ignored_and_named() {
    let config = with(llama(), json!({ "tie_word_embeddings": true }));
    let (_, mut memory) = accepted(&config);
    memory.add("lm_head.weight", &[80, 64], |_| 0.0);
    memory.add("model.layers.0.self_attn.rotary_emb.inv_freq", &[8], |_| 0.0);
    let recipe = recipe(Settings::HuggingFace(&config), &memory).expect("recipe");
    assert!(find(&recipe.globals, Role::Head).is_none());
    assert_eq!(recipe.ignored, ["lm_head.weight", "model.layers.0.self_attn.rotary_emb.inv_freq"]);
}

#[test]
fn biases_are_there_where_the_settings_say_so() {
    let (recipe, _) = accepted(&with(llama(), json!({ "attention_bias": true, "mlp_bias": true })));
    let roles: Vec<Role> = recipe.layers[0].tensors.iter().map(|tensor| tensor.role).collect();
    use Role::*;
    for role in [QueryBias, KeyBias, ValueBias, OutputBias, GatedBias, UpBias, DownBias] {
        assert!(roles.contains(&role), "{role}");
    }
    let (recipe, _) = accepted(&with(llama(), json!({ "model_type": "qwen2" })));
    assert!(find(&recipe.layers[0].tensors, QueryBias).is_some());
    assert!(find(&recipe.layers[0].tensors, OutputBias).is_none());
}

#[test]
fn dense_layers_stand_among_sparse_ones() {
    let config =
        json!({ "num_hidden_layers": 6, "decoder_sparse_step": 2, "mlp_only_layers": [3] });
    let (recipe, _) = accepted(&with(qwen3_moe(), config));
    let sparse: Vec<usize> = recipe.layers.iter().map(|layer| layer.experts.len()).collect();
    assert_eq!(sparse, [0, 4, 0, 0, 0, 4]);
    assert_eq!(recipe.spec.layers[0].feed_forward.kind, FeedForwardKind::Dense { inner: 96 });
    let experts = recipe.spec.layers[1].feed_forward.experts().expect("experts");
    assert_eq!((experts.inner, experts.router), (32, RouterKind::SoftmaxChosen));
}

#[test]
fn windows_are_where_transformers_puts_them() {
    let windows = |config: &Value| -> Vec<u32> {
        accepted(config).0.spec.layers.iter().map(|layer| layer.attention.window).collect()
    };
    let sliding =
        json!({ "use_sliding_window": true, "sliding_window": 128, "max_window_layers": 1 });
    assert_eq!(
        windows(&with(with(llama(), sliding.clone()), json!({ "model_type": "qwen3" }))),
        [0, 128]
    );
    assert_eq!(windows(&with(qwen3_moe(), sliding)), [128, 128]);
    assert_eq!(windows(&gpt_oss()), [128, 0]);
    let mistral = json!({ "model_type": "mistral", "sliding_window": 4096 });
    assert_eq!(windows(&with(llama(), mistral)), [4096, 4096]);
    let unused =
        json!({ "model_type": "qwen2", "use_sliding_window": false, "sliding_window": 128 });
    assert_eq!(windows(&with(llama(), unused)), [0, 0]);
}

#[test]
fn queries_of_a_rank_have_two_projections() {
    let (recipe, memory) = accepted(&with(deepseek(), json!({ "q_lora_rank": 20 })));
    let tensors = &recipe.layers[0].tensors;
    let names = |role| find(tensors, role).expect("present").names().join(" ");
    assert_eq!(names(Role::Query), "model.layers.0.self_attn.q_b_proj.weight");
    assert_eq!(names(Role::QueryDown), "model.layers.0.self_attn.q_a_proj.weight");
    assert_eq!(names(Role::QueryDownNorm), "model.layers.0.self_attn.q_a_layernorm.weight");
    // Heads of 16 + 16 rows of 20: row 17 of the first head is stored row 18.
    let query = find(tensors, Role::Query).expect("query").load(&memory).expect("load");
    assert_eq!(query[17 * 20], 18.0 * 20.0);
    // The key's transposed rows: element [r, n] of head h is stored at row h * (16 + 12) + n,
    // column r.
    let key_up = find(tensors, Role::KeyUp).expect("key up");
    assert_eq!((key_up.stack, key_up.rows, key_up.columns), (4, 24, 16));
    let values = key_up.load(&memory).expect("load");
    assert_eq!(values[(2 * 24 + 5) * 16 + 7], ((2 * 28 + 7) * 24 + 5) as f32);
}

/// The same numbers stored as floats and as blocks load the same: floats are `[inputs, outputs]`,
/// blocks the reverse.
#[test]
fn experts_in_mxfp4_load_as_their_floats() {
    const EXPERTS: usize = 3;
    let (hidden, inner) = (64, 96);
    let (floats, mut as_floats) = accepted(&gpt_oss());
    let mut as_blocks = as_floats.clone();
    for layer in 0..2 {
        for (part, outputs, inputs) in
            [("gate_up_proj", 2 * inner, hidden), ("down_proj", hidden, inner)]
        {
            let name = format!("model.layers.{layer}.mlp.experts.{part}");
            let count = EXPERTS * outputs * inputs / 32;
            let blocks: Vec<u8> = (0..count * 16).map(|index| (index * 37 % 251) as u8).collect();
            let scales: Vec<u8> = (0..count).map(|index| 120 + (index % 9) as u8).collect();
            let values = hardtack_models::mxfp4::decode(&blocks, &scales);
            as_floats.add(&name, &[EXPERTS, inputs, outputs], |index| {
                let (expert, input, output) =
                    (index / (inputs * outputs), index / outputs % inputs, index % outputs);
                values[(expert * outputs + output) * inputs + input]
            });
            as_blocks.floats.remove(&name);
            as_blocks.bytes.insert(
                format!("{name}_blocks"),
                (vec![EXPERTS, outputs, inputs / 32, 16], blocks),
            );
            as_blocks
                .bytes
                .insert(format!("{name}_scales"), (vec![EXPERTS, outputs, inputs / 32], scales));
        }
    }
    let blocks = recipe(Settings::HuggingFace(&gpt_oss()), &as_blocks).expect("recipe");
    assert_eq!(blocks.spec, floats.spec);
    for (left, right) in floats.layers.iter().zip(&blocks.layers) {
        for (left, right) in left.experts.iter().flatten().zip(right.experts.iter().flatten()) {
            assert_eq!(
                left.load(&as_floats).expect("floats"),
                right.load(&as_blocks).expect("blocks"),
                "{}",
                left.role
            );
            let parts = (0..right.rows as usize)
                .step_by(5)
                .flat_map(|row| right.load_rows(&as_blocks, row, 5).expect("part"));
            assert_eq!(parts.collect::<Vec<_>>(), right.load(&as_blocks).expect("blocks"));
        }
    }
    as_blocks.bytes.remove("model.layers.1.mlp.experts.down_proj_scales");
    let error =
        recipe(Settings::HuggingFace(&gpt_oss()), &as_blocks).expect_err("refused").to_string();
    assert!(
        error.contains("down_proj_scales (down) is missing; expected shape [3, 64, 3]"),
        "{error}"
    );
}
