//! [`ModelSpec`] as the bytes of the spec section, and back with every limit checked.

use alloc::vec::Vec;

use crate::cursor::{Cursor, Put};
use crate::error::FormatError;
use crate::limits::*;
use crate::spec::*;

const GROUPED: u32 = 1;
const LATENT: u32 = 2;
const DENSE: u32 = 1;
const EXPERTS: u32 = 2;
const SILU: u32 = 1;
const CLAMPED_SWIGLU: u32 = 2;

impl ModelSpec {
    /// The bytes of the spec section.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for count in [self.vocabulary, self.hidden, self.context_max, self.layers.len() as u32] {
            out.put_u32(count);
        }
        for scale in
            [self.norm_epsilon, self.embedding_scale, self.residual_scale, self.logit_scale]
        {
            out.put_f32(scale);
        }
        for layer in &self.layers {
            put_attention(&mut out, &layer.attention);
            put_feed_forward(&mut out, &layer.feed_forward);
        }
        out
    }

    /// Reads the spec section. `base` is its offset in the file, for messages.
    pub fn from_bytes(bytes: &[u8], base: u64) -> Result<Self, FormatError> {
        let mut cursor = Cursor::new(bytes, base);
        let vocabulary = cursor.take_positive("spec vocabulary", VOCABULARY_MAX)?;
        let hidden = cursor.take_positive("spec hidden", DIMENSION_MAX)?;
        let context_max = cursor.take_positive("spec context_max", CONTEXT_MAX)?;
        let layer_count = cursor.take_positive("spec layers", LAYERS_MAX)?;
        let norm_epsilon = cursor.take_not_negative("spec norm_epsilon")?;
        let embedding_scale = cursor.take_finite("spec embedding_scale")?;
        let residual_scale = cursor.take_finite("spec residual_scale")?;
        let logit_scale = cursor.take_finite("spec logit_scale")?;
        let mut layers = Vec::with_capacity(layer_count as usize);
        for _ in 0..layer_count {
            layers.push(LayerSpec {
                attention: take_attention(&mut cursor)?,
                feed_forward: take_feed_forward(&mut cursor)?,
            });
        }
        cursor.expect_end("spec end")?;
        Ok(Self {
            vocabulary,
            hidden,
            context_max,
            norm_epsilon,
            embedding_scale,
            residual_scale,
            logit_scale,
            layers,
        })
    }
}

fn put_attention(out: &mut Vec<u8>, attention: &AttentionSpec) {
    out.put_u32(attention.heads);
    out.put_f32(attention.score_scale);
    out.put_u32(attention.window);
    out.put_u32(attention.rope_dim);
    out.put_f32(attention.rope_scale);
    let fields = match attention.kind {
        AttentionKind::Grouped { kv_heads, head_dim, norm } => {
            let norm = match norm {
                HeadNorm::None => 0,
                HeadNorm::PerHead => 1,
                HeadNorm::Whole => 2,
            };
            [GROUPED, kv_heads, head_dim, norm, 0]
        }
        AttentionKind::Latent { query_rank, kv_rank, nope_dim, value_dim } => {
            [LATENT, query_rank, kv_rank, nope_dim, value_dim]
        }
    };
    for field in fields {
        out.put_u32(field);
    }
}

fn take_attention(cursor: &mut Cursor<'_>) -> Result<AttentionSpec, FormatError> {
    let heads_at = cursor.offset();
    let heads = cursor.take_positive("attention heads", HEADS_MAX)?;
    let score_scale = cursor.take_finite("attention score_scale")?;
    let window = cursor.take_count("attention window", CONTEXT_MAX)?;
    let rope_at = cursor.offset();
    let rope_dim = cursor.take_count("attention rope_dim", HEAD_DIM_MAX)?;
    let rope_scale = cursor.take_finite("attention rope_scale")?;
    let kind_at = cursor.offset();
    let (kind, rope_room) = match cursor.take_u32()? {
        GROUPED => {
            let kv_heads = cursor.take_positive("attention kv_heads", heads)?;
            let head_dim = cursor.take_positive("attention head_dim", HEAD_DIM_MAX)?;
            let norm_at = cursor.offset();
            let norm = match cursor.take_u32()? {
                0 => HeadNorm::None,
                1 => HeadNorm::PerHead,
                2 => HeadNorm::Whole,
                value => {
                    return Err(FormatError::Unknown {
                        field: "attention norm",
                        offset: norm_at,
                        value: value.into(),
                    });
                }
            };
            cursor.expect("attention reserved", 0)?;
            if !heads.is_multiple_of(kv_heads) {
                return Err(FormatError::Mismatch {
                    field: "attention heads over kv_heads remainder",
                    offset: heads_at,
                    expected: 0,
                    found: (heads % kv_heads).into(),
                });
            }
            (AttentionKind::Grouped { kv_heads, head_dim, norm }, head_dim)
        }
        LATENT => {
            let query_rank = cursor.take_count("attention query_rank", DIMENSION_MAX)?;
            let kv_rank = cursor.take_positive("attention kv_rank", HEAD_DIM_MAX)?;
            let nope_dim = cursor.take_positive("attention nope_dim", HEAD_DIM_MAX)?;
            let value_dim = cursor.take_positive("attention value_dim", HEAD_DIM_MAX)?;
            if rope_dim == 0 {
                return Err(FormatError::Mismatch {
                    field: "attention rope_dim",
                    offset: rope_at,
                    expected: 2,
                    found: 0,
                });
            }
            (AttentionKind::Latent { query_rank, kv_rank, nope_dim, value_dim }, HEAD_DIM_MAX)
        }
        value => {
            return Err(FormatError::Unknown {
                field: "attention kind",
                offset: kind_at,
                value: value.into(),
            });
        }
    };
    if rope_dim > rope_room {
        return Err(FormatError::OverLimit {
            field: "attention rope_dim",
            offset: rope_at,
            value: rope_dim.into(),
            limit: rope_room.into(),
        });
    }
    if !rope_dim.is_multiple_of(2) {
        return Err(FormatError::Mismatch {
            field: "attention rope_dim parity",
            offset: rope_at,
            expected: 0,
            found: 1,
        });
    }
    Ok(AttentionSpec { heads, score_scale, window, rope_dim, rope_scale, kind })
}

fn put_feed_forward(out: &mut Vec<u8>, feed_forward: &FeedForwardSpec) {
    let (activation, alpha, limit) = match feed_forward.activation {
        Activation::Silu => (SILU, 0.0, 0.0),
        Activation::ClampedSwiglu { alpha, limit } => (CLAMPED_SWIGLU, alpha, limit),
    };
    out.put_u32(activation);
    out.put_f32(alpha);
    out.put_f32(limit);
    let (fields, scale) = match feed_forward.kind {
        FeedForwardKind::Dense { inner } => ([DENSE, inner, 0, 0, 0, 0], 0.0),
        FeedForwardKind::Experts(experts) => {
            let router = match experts.router {
                RouterKind::SoftmaxAll => 1,
                RouterKind::SoftmaxChosen => 2,
            };
            (
                [
                    EXPERTS,
                    experts.inner,
                    experts.count,
                    experts.chosen,
                    experts.shared_inner,
                    router,
                ],
                experts.routed_scale,
            )
        }
    };
    for field in fields {
        out.put_u32(field);
    }
    out.put_f32(scale);
}

fn take_feed_forward(cursor: &mut Cursor<'_>) -> Result<FeedForwardSpec, FormatError> {
    let activation_at = cursor.offset();
    let activation = match cursor.take_u32()? {
        SILU => {
            cursor.expect_zeros("activation reserved", 8)?;
            Activation::Silu
        }
        // A negative limit would turn the range it bounds around, and `clamp` panics on such a
        // range.
        CLAMPED_SWIGLU => Activation::ClampedSwiglu {
            alpha: cursor.take_finite("activation alpha")?,
            limit: cursor.take_not_negative("activation limit")?,
        },
        value => {
            return Err(FormatError::Unknown {
                field: "activation",
                offset: activation_at,
                value: value.into(),
            });
        }
    };
    let kind_at = cursor.offset();
    let kind = cursor.take_u32()?;
    let inner = cursor.take_positive("feed_forward inner", DIMENSION_MAX)?;
    let kind = match kind {
        DENSE => {
            cursor.expect_zeros("feed_forward reserved", 20)?;
            FeedForwardKind::Dense { inner }
        }
        EXPERTS => FeedForwardKind::Experts(take_experts(cursor, inner)?),
        value => {
            return Err(FormatError::Unknown {
                field: "feed_forward kind",
                offset: kind_at,
                value: value.into(),
            });
        }
    };
    Ok(FeedForwardSpec { activation, kind })
}

fn take_experts(cursor: &mut Cursor<'_>, inner: u32) -> Result<ExpertsSpec, FormatError> {
    let count = cursor.take_positive("experts count", EXPERTS_MAX)?;
    let chosen = cursor.take_positive("experts chosen", count.min(CHOSEN_MAX))?;
    let shared_inner = cursor.take_count("experts shared_inner", DIMENSION_MAX)?;
    let gate_at = cursor.offset();
    let router = match cursor.take_u32()? {
        1 => RouterKind::SoftmaxAll,
        2 => RouterKind::SoftmaxChosen,
        value => {
            return Err(FormatError::Unknown {
                field: "experts gate",
                offset: gate_at,
                value: value.into(),
            });
        }
    };
    let routed_scale = cursor.take_finite("experts routed_scale")?;
    Ok(ExpertsSpec { count, chosen, inner, shared_inner, router, routed_scale })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn sample() -> ModelSpec {
        let experts = ExpertsSpec {
            count: 8,
            chosen: 2,
            inner: 32,
            shared_inner: 16,
            router: RouterKind::SoftmaxChosen,
            routed_scale: 1.5,
        };
        let grouped = AttentionSpec {
            heads: 4,
            score_scale: 0.25,
            window: 16,
            rope_dim: 16,
            rope_scale: 1.0,
            kind: AttentionKind::Grouped { kv_heads: 2, head_dim: 16, norm: HeadNorm::PerHead },
        };
        let latent = AttentionSpec {
            kind: AttentionKind::Latent { query_rank: 0, kv_rank: 32, nope_dim: 16, value_dim: 24 },
            ..grouped
        };
        ModelSpec {
            vocabulary: 320,
            hidden: 64,
            context_max: 512,
            norm_epsilon: 1e-6,
            embedding_scale: 12.0,
            residual_scale: 0.22,
            logit_scale: 0.5,
            layers: vec![
                LayerSpec {
                    attention: grouped,
                    feed_forward: FeedForwardSpec {
                        activation: Activation::Silu,
                        kind: FeedForwardKind::Dense { inner: 160 },
                    },
                },
                LayerSpec {
                    attention: latent,
                    feed_forward: FeedForwardSpec {
                        activation: Activation::ClampedSwiglu { alpha: 1.702, limit: 7.0 },
                        kind: FeedForwardKind::Experts(experts),
                    },
                },
            ],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let spec = sample();
        assert_eq!(ModelSpec::from_bytes(&spec.to_bytes(), 0), Ok(spec));
    }

    #[test]
    fn every_truncation_is_refused() {
        let bytes = sample().to_bytes();
        for end in 0..bytes.len() {
            assert!(
                matches!(
                    ModelSpec::from_bytes(&bytes[..end], 7),
                    Err(FormatError::Truncated { .. })
                ),
                "{end}"
            );
        }
    }

    #[test]
    fn limits_hold_from_both_sides() {
        let at_limit = |field: usize, value: u32| {
            let mut bytes = sample().to_bytes();
            bytes[field * 4..field * 4 + 4].copy_from_slice(&value.to_le_bytes());
            ModelSpec::from_bytes(&bytes, 0)
        };
        assert!(at_limit(0, VOCABULARY_MAX).is_ok());
        assert!(matches!(at_limit(0, VOCABULARY_MAX + 1), Err(FormatError::OverLimit { .. })));
        assert!(at_limit(1, DIMENSION_MAX).is_ok());
        assert!(matches!(at_limit(1, DIMENSION_MAX + 1), Err(FormatError::OverLimit { .. })));
        assert!(matches!(at_limit(3, LAYERS_MAX), Err(FormatError::Truncated { .. })));
        assert!(matches!(at_limit(3, LAYERS_MAX + 1), Err(FormatError::OverLimit { .. })));
        assert!(matches!(at_limit(3, 0), Err(FormatError::Mismatch { .. })));
    }
}
