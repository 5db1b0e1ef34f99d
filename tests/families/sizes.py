"""Sizes of small models, by the name of the field in a config, and what a family needs besides.

Add to `SIZES` where a new family has a new name for a size. Add to `DEFAULTS` where a family's default config leaves
out what makes it special, and to `EXCEPTIONS` where a small value must fit others.
"""

from typing import Any

WINDOW = 16
"""Tokens in a sliding window and in a chunk of chunked attention: fewer than the texts of the tests have."""

CONTEXT = 512
"""The context length of the models, in tokens."""

SIZES: dict[str, Any] = {}
"""The largest value of a field of any config, by its name."""

for _size, _names in (
    (
        64,
        """hidden_size d_model n_embd dim dim_model embedding_size embed_dim word_embed_proj_dim lru_width
        projection_dim out_hidden_size text_hidden_size hidden_size_global encoder_hidden_size
        cross_attention_hidden_size d_inner projector_hidden_size embedding_dim attention_hidden_size emb_dim
        input_embedding_size moe_hidden_size
        output_embedding_size thinker_hidden_size backbone_hidden_size projection_hidden_size output_dim
        vision_output_dim patch_embed_hidden_size image_token_embed_dim image_text_hidden_size audio_hidden_size
        intermediate_size ffn_dim encoder_ffn_dim decoder_ffn_dim ffn_hidden_size n_inner dff dim_ff d_ff mlp_dim
        intermediate_size_mlp dense_intermediate_size projection_intermediate_size prefix_dense_intermediate_size
        alignment_intermediate_size hidden_dim adapter_out_dim feed_forward_size merged_hidden_size output_channels
        projector_input_dim projector_output_dim downsample_hidden_size projection_hidden_dim decoder_dim
        output_proj_dims adapter_in_dim adapter_input_size audio_embed_dim pronunciation_embed_dim shape_embed_dim
        nemo_conv_channels ext_pw_out_channel mm_embed_dim""",
    ),
    (
        32,
        """moe_intermediate_size shared_expert_intermediate_size moe_shared_expert_intermediate_size share_expert_dim
        shared_intermediate_size expert_ffn_hidden_size shared_experts_intermediate_size moe_latent_size
        base_channels latent_channels""",
    ),
    (
        16,
        """head_dim d_kv kv_channels d_head v_head_dim kv_lora_rank q_lora_rank o_lora_rank mamba_head_dim mamba_d_head
        linear_head_dim linear_key_head_dim linear_value_head_dim swa_head_dim swa_v_head_dim index_head_dim
        time_step_rank laurel_rank attention_head_size dim_head resampler_dim_head resampler_head_dim mamba_d_state
        state_size ssm_state_size router_hidden_size hidden_size_per_layer_input index_n_heads gated_norm_rank
        hc_lowrank adapter_rank mamba_dt_rank num_mel_bins num_centroids codebook_dim pos_emb_height
        pos_emb_width posemb_grid_size num_position_embeddings max_image_size indexer_head_dim
        centroid_intermediate_top_k""",
    ),
    (
        8,
        """qk_rope_head_dim qk_nope_head_dim rotary_dim d_rel relative_attention_num_buckets num_buckets
        mamba_chunk_size chunk_size index_topk mamba_n_heads latent_query_num prompt_length img_max_token_num""",
    ),
    (
        4,
        """num_attention_heads n_head n_heads num_heads encoder_attention_heads decoder_attention_heads attention_heads
        linear_num_heads swa_num_attention_heads num_sliding_attention_heads conf_num_attention_heads
        num_experts num_local_experts n_routed_experts moe_num_experts n_mamba_heads mamba_num_heads o_groups
        linear_num_value_heads resampler_heads resampler_n_heads num_query_tokens resampler_n_latents
        resampler_num_latents num_attention_heads_per_layer index_block_size index_kpool mel_vocab_size""",
    ),
    (
        2,
        """num_key_value_heads num_global_key_value_heads swa_num_key_value_heads kv_n_heads num_kv_heads n_groups
        num_experts_per_tok num_experts_per_token moe_top_k moe_topk moe_k top_k_experts linear_num_key_heads
        encoder_layers decoder_layers num_layers n_layers n_layer layers depth num_hidden_layers mamba_n_groups
        hc_sinkhorn_iters num_decoder_layers num_blocks conf_num_hidden_layers resampler_depth
        zero_expert_num num_quantizers num_codebooks num_res_blocks num_global_layers num_image_with_embedding
        index_topk_blocks aligner_num_add_layers num_query_groups""",
    ),
    (
        1,
        """n_shared_experts num_shared_experts moe_num_shared_experts n_group topk_group num_expert_group
        first_k_dense_replace num_dense_layers""",
    ),
    (
        0,
        """num_nextn_predict_layers num_mtp_layers residual_dropout embd_pdrop resid_pdrop attn_pdrop dropout
        attention_dropout hidden_dropout hidden_dropout_prob attention_probs_dropout_prob activation_dropout layerdrop
        encoder_layerdrop decoder_layerdrop emb_pdrop""",
    ),
    (
        WINDOW,
        """sliding_window sliding_window_size attention_window_size attention_chunk_size local_attention window_size
        rel_extent keep_window_size local_attention_window_len""",
    ),
    (
        CONTEXT,
        """max_position_embeddings n_positions n_ctx max_seq_len max_target_positions context_length model_max_length
        position_embedding_size max_source_positions encoder_hash_byte_group_vocab codebook_size max_num_patches
        vocab_size_per_layer_input ngram_vocab_size_base pronunciation_vocab_size shape_vocab_size""",
    ),
    (28, "image_size"),
    (14, "patch_size"),
):
    SIZES |= dict.fromkeys(_names.split(), _size)

_GEMMA4 = {"num_kv_shared_layers": 12, "enable_moe_block": True, "num_experts": 4, "top_k_experts": 2}
_GEMMA4 |= {"moe_intermediate_size": 32}
_ROPE = {"rope_type": "default", "rope_theta": 10000.0}
_COMPASS: dict[str, Any] = {"sliding_window": 512, "layer_types": (["sliding_attention"] * 3 + ["full_attention"]) * 10}
_COMPASS |= {"rope_parameters": {"sliding_attention": _ROPE, "full_attention": _ROPE}}
_QWEN4: dict[str, Any] = {"indexer_n_heads": 2, "indexer_kv_heads": 1, "indexer_head_dim": 256, "indexer_budget": 8}
_QWEN4 |= {"indexer_compress_ratio": 4, "ple_layer_ids": [1], "eos_token_id": 0}
_LFM2 = {"full_attn_idxs": [2, 5, 8, 11, 14, 17, 20, 23, 26, 29]}
_GRANITE_HYBRID = (["linear_attention"] * 3 + ["full_attention"]) * 8
_HYBRID_LAYERS = ["linear_attention", "hybrid", "linear_attention", "hybrid"]
_STEP = (["full_attention"] + ["sliding_attention"] * 3) * 11 + ["full_attention"]
_SPARSE = {"num_hidden_layers": 4, "layer_types": ["full_attention", "full_attention"] + ["minimax_m3_sparse"] * 2}
_NO_VOCABULARY = {"vocabulary_map": {"<image>": 1, "<|extra_200|>": 1}}

_SWA = {"swa_num_attention_heads": 4, "swa_num_key_value_heads": 4, "swa_q_lora_rank": 16, "swa_kv_lora_rank": 16}
_SWA |= {"swa_head_dim": 16, "swa_v_head_dim": 16, "swa_qk_nope_head_dim": 8}
_COMPRESS = {"compressed_sparse_attention": 4, "heavily_compressed_attention": 8}

DEFAULTS: dict[str, dict[str, Any]] = {
    "chameleon": _NO_VOCABULARY,
    "cohere_compass": {"text_config": _COMPASS},
    "cohere_compass_text": _COMPASS,
    "emu3": {"text_config": {}, **_NO_VOCABULARY},
    "gemma4": {"text_config": _GEMMA4},
    "gemma4_assistant": {"text_config": {"hidden_size_per_layer_input": 0, "vocab_size_per_layer_input": 0}},
    "gemma4_text": _GEMMA4,
    "gemma4_unified": {"text_config": {"num_kv_shared_layers": 12}},
    "gemma4_unified_text": {"num_kv_shared_layers": 12},
    "granitemoehybrid": {"layer_types": _GRANITE_HYBRID},
    "lfm2": _LFM2,
    "lfm2_moe": {"layer_types": (["conv", "conv", "full_attention"] * 16)[:32], "num_hidden_layers": 32},
    "lfm2_vl": {"text_config": _LFM2},
    "minimax_m3_vl": {"text_config": _SPARSE},
    "minimax_m3_vl_text": _SPARSE,
    "qwen2_5_omni": {"enable_audio_output": False},
    "qwen3_omni_moe": {"enable_audio_output": False},
    "qwen4_exp": {"text_config": _QWEN4},
    "qwen4_exp_text": _QWEN4,
    "reformer": {"is_decoder": True},
    "step3p7": {"text_config": {"sliding_window": 512, "layer_types": _STEP}},
    "vision-encoder-decoder": {"encoder": {"model_type": "vit"}, "decoder": {"model_type": "gpt2"}},
}
"""Arguments of a family's default config, by model type."""

EXCEPTIONS: dict[str, dict[str, Any]] = {
    "bamba": {"num_hidden_layers": 3, "attn_layer_indices": [1]},
    "dbrx": {"attn_config": {"kv_n_heads": 2, "rope_theta": 10000.0, "clip_qkv": 8.0}},
    "deepseek_ocr2_text": {"mlp_layer_types": ["dense", "sparse"]},
    "deepseek_v4": {"index_topk": 2, "compress_rates": _COMPRESS},
    "diffusion_gemma_text": {"num_experts": 4, "top_k_experts": 2, "moe_intermediate_size": 32, "global_head_dim": 32},
    "doge": {"keep_window_size": CONTEXT},  # beyond it, a repeated token makes ties in the choice of keys
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1},
    "dots3_note_text": _SWA,
    "ernie4_5_vl_moe_text": {
        "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0, "mrope_section": [3, 3, 2]}
    },
    "falcon_h1": {"mamba_d_ssm": 128, "mamba_d_head": 16},
    "florence_vision": {
        "embed_dim": (16, 16, 32, 64),
        "num_heads": (1, 1, 2, 4),
        "num_groups": (1, 1, 2, 4),
        "depths": (1, 1, 1, 1),
    },
    "fun_asr_nano": {
        "adaptor_config": {"intermediate_size": 16, "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    },
    "gemma4_text": {"global_head_dim": 32},
    "gemma4_unified_text": {"global_head_dim": 32},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "attention_layers": ["global", "local"]},
    "granite4_vision": {"deepstack_layer_map": [[0, 0]], "spatial_target_layers": [1], "downsample_rate": "1/2"},
    "jamba": {"num_hidden_layers": 4, "attn_layer_period": 4, "attn_layer_offset": 2},
    "mamba2": {"num_heads": 8},
    "mimi": {"upsample_groups": 64, "num_filters": 4},
    "minicpm3": {"scale_emb": 1, "dim_model_base": 64},
    "mllama_text_model": {"num_hidden_layers": 3, "cross_attention_layers": [1]},
    "molmo2_adapter": {"vision_feature_layer": [1, 0]},
    "muse_spark_audio": {"hidden_sizes": (16, 16, 32, 64), "depths": (1, 1, 1, 1)},
    "nemotron_h": {"time_step_min": 1e-6},  # below it, transformers treats one token unlike several
    "paddleocr_vl_text": {
        "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0, "mrope_section": [2, 3, 3]}
    },
    "radio": {"video_temporal_patch_size": 2},
    "recurrent_gemma": {"num_hidden_layers": 3},
    "reformer": {
        "hash_seed": 0,
        "axial_pos_embds_dim": (32, 32),
        "axial_pos_shape": (16, 32),
        "lsh_attn_chunk_length": 16,
        "local_attn_chunk_length": 16,
    },
    "vibevoice_acoustic_tokenizer_encoder": {"num_filters": 2, "depths": (1, 1, 1, 1, 1, 1, 1)},
    "xlstm": {"qk_dim_factor": 1.0},
    "xmod": {"default_language": "en_XX"},
    "zamba": {
        "num_hidden_layers": 4,
        "layers_block_type": _HYBRID_LAYERS,
        "attention_hidden_size": 128,
        "attention_head_dim": 32,
    },
    "zamba2": {"time_step_min": 1e-6, "num_hidden_layers": 4, "layers_block_type": _HYBRID_LAYERS},
}
"""Fields of the small config of a family, or of a part of it, by model type."""

_SEEDS = """
    apertus=1 bart=1 bert=5 bert-generation=1 big_bird=5 bigbird_pegasus=1 blenderbot=1 blenderbot-small=4 bloom=1
    camembert=2 chameleon=2 cohere2_moe=1 cosmos3_edge=2 ctrl=2 data2vec-text=5 electra=4 ernie=5 exaone4_5=1
    falcon=1 flex_olmo=1 fuyu=2 gemma3_text=1 gpt_neox=3 gpt_neox_japanese=2 hunyuan_v1_dense=1 hunyuan_v1_moe=1
    hunyuan_vl=2 lighton_ocr=1 marian=10 megatron-bert=3 minimax_m2=1 minimax_m3_vl_text=1 mpt=2 mvp=1 olmo3=2
    olmoe=1 persimmon=3 phi=1 plbart=1 qwen3=1 qwen3_vl_moe=1 recurrent_gemma=1 rembert=7 roberta=5
    roberta-prelayernorm=3 roformer=1 whisper=1 xglm=1 xlm-roberta=2 xlm-roberta-xl=4 xmod=11 youtu=1 zaya=5
"""

SEEDS: dict[str, int] = {name: int(seed) for name, _, seed in (pair.partition("=") for pair in _SEEDS.split())}
"""The seeds of models whose greedy tokens repeat soon with seed 0, by model type."""
