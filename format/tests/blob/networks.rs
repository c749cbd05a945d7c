//! Random small networks and random lists of sections.

use hardtack_format::spec::*;
use hardtack_format::{
    Encoding, ModelSpec, Role, SectionKey, SectionKind, SectionPlan, TensorPlan,
};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// A network that keeps every limit, small enough to be written in a test.
pub fn spec() -> impl Strategy<Value = ModelSpec> {
    let scales = (number(), number(), number());
    (1..200_u32, 1..100_u32, 1..5000_u32, 0.0..1.0_f32, scales, vec(layer(), 1..4)).prop_map(
        |(vocabulary, hidden, context_max, norm_epsilon, scales, layers)| ModelSpec {
            vocabulary,
            hidden,
            context_max,
            norm_epsilon,
            embedding_scale: scales.0,
            residual_scale: scales.1,
            logit_scale: scales.2,
            layers,
        },
    )
}

fn layer() -> impl Strategy<Value = LayerSpec> {
    (attention(), feed_forward())
        .prop_map(|(attention, feed_forward)| LayerSpec { attention, feed_forward })
}

fn attention() -> impl Strategy<Value = AttentionSpec> {
    let norm = select(vec![HeadNorm::None, HeadNorm::PerHead, HeadNorm::Whole]);
    let grouped = (1..4_u32, 1..4_u32, 0..9_u32, 0..9_u32, norm).prop_map(
        |(kv_heads, share, half, more, norm)| {
            // `heads` is a multiple of `kv_heads`, and RoPE turns an even part of a head.
            let kind =
                AttentionKind::Grouped { kv_heads, head_dim: (2 * half + more).max(1), norm };
            (kv_heads * share, 2 * half, kind)
        },
    );
    let latent = (1..5_u32, 1..9_u32, 0..20_u32, 1..20_u32, 1..20_u32, 1..20_u32).prop_map(
        |(heads, half, query_rank, kv_rank, nope_dim, value_dim)| {
            (heads, 2 * half, AttentionKind::Latent { query_rank, kv_rank, nope_dim, value_dim })
        },
    );
    (prop_oneof![grouped, latent], number(), 0..100_u32, number()).prop_map(
        |((heads, rope_dim, kind), score_scale, window, rope_scale)| AttentionSpec {
            heads,
            score_scale,
            window,
            rope_dim,
            rope_scale,
            kind,
        },
    )
}

fn feed_forward() -> impl Strategy<Value = FeedForwardSpec> {
    let activation = prop_oneof![
        Just(Activation::Silu),
        (number(), 0.0..100.0_f32)
            .prop_map(|(alpha, limit)| Activation::ClampedSwiglu { alpha, limit }),
    ];
    let gate = select(vec![RouterKind::SoftmaxAll, RouterKind::SoftmaxChosen]);
    let shared_inner = prop_oneof![Just(0_u32), 1..40_u32];
    let experts = (1..6_u32, 1..6_u32, 1..80_u32, shared_inner, gate, number()).prop_map(
        |(count, chosen, inner, shared_inner, router, routed_scale)| {
            let chosen = chosen.min(count);
            FeedForwardKind::Experts(ExpertsSpec {
                count,
                chosen,
                inner,
                shared_inner,
                router,
                routed_scale,
            })
        },
    );
    let kind = prop_oneof![(1..80_u32).prop_map(|inner| FeedForwardKind::Dense { inner }), experts];
    (activation, kind).prop_map(|(activation, kind)| FeedForwardSpec { activation, kind })
}

fn number() -> impl Strategy<Value = f32> {
    prop::num::f32::NORMAL | prop::num::f32::ZERO | prop::num::f32::SUBNORMAL
}

/// Sections that a layout takes, with keys and roles that mean no network.
pub fn sections() -> impl Strategy<Value = Vec<SectionPlan>> {
    let plain = select(vec![SectionKind::Spec, SectionKind::Tokenizer, SectionKind::Vocabulary]);
    let weights = select(vec![SectionKind::Globals, SectionKind::Layer, SectionKind::Expert]);
    let key = |kind| (kind, 0..1024_u32, 0..4096_u32);
    let plain = btree_map(key(plain.boxed()), 0..40_000_u64, 0..4);
    let weights = btree_map(key(weights.boxed()), tensors(), 1..5);
    (plain, weights).prop_map(|(plain, weights)| {
        let plain = plain.into_iter().map(|((kind, layer, expert), bytes)| SectionPlan::Plain {
            key: SectionKey { kind, layer, expert },
            bytes,
        });
        let weights = weights.into_iter().map(|((kind, layer, expert), tensors)| {
            SectionPlan::Tensors { key: SectionKey { kind, layer, expert }, tensors }
        });
        plain.chain(weights).collect()
    })
}

fn tensors() -> impl Strategy<Value = Vec<TensorPlan>> {
    let roles: Vec<Role> = (0..=u16::MAX).filter_map(Role::from_number).collect();
    let shape = (option::of(select(Encoding::MATRICES.to_vec())), 1..4_u32, 1..40_u32, 1..150_u32);
    (btree_set(select(roles), 1..6), vec(shape, 6)).prop_map(|(roles, shapes)| {
        let plan = |(role, (encoding, stack, rows, columns)): (
            Role,
            (Option<Encoding>, u32, u32, u32),
        )| TensorPlan {
            role,
            encoding: encoding.unwrap_or(Encoding::Plain),
            stack,
            rows,
            columns,
        };
        roles.into_iter().zip(shapes).map(plan).collect()
    })
}
