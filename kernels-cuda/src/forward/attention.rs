//! Attention: projections, normalization and RoPE, the cache, the softmax, and the output
//! projection.

use hardtack_format::TensorRef;
use hardtack_format::network::GroupedTensors;
use hardtack_format::spec::{AttentionKind, AttentionSpec, HeadNorm};
use hardtack_kernels::ring_shape::CHUNK;

use super::list::{Forward, Job, ONE, Pass, input_params};
use crate::address::Address;
use crate::buffers::{Inputs, Slot, buffer};
use crate::cache::{Cache, KvElement, KvStore};
use crate::device::Device;
use crate::kernel::Kernel;
use crate::launch::{Extent, Launch};
use crate::params::Params;
use crate::ring::RingLayout;
use crate::sizes::SPAN;
use crate::widths::Widths;

/// Rows of vectors on their way from a projection to a buffer or the cache.
pub(super) struct HeadRows<'a> {
    pub from: Slot,
    pub to: Slot,
    pub cache: Slot,
    pub gain: Option<&'a TensorRef>,
    /// Elements of a token's whole row, and the first one of its vectors.
    pub stride: u32,
    pub first: u32,
    pub heads: u32,
    /// Elements between the vectors of two heads.
    pub spacing: u32,
    pub width: u32,
    pub norm: HeadNorm,
    /// How many of the vector's first elements RoPE turns.
    pub turned: u32,
    /// Whether a ring keeps them rotated by the Hadamard transform.
    pub rotated: bool,
}

impl HeadRows<'_> {
    /// Whole rows, a head's vector next to another's, as they are.
    pub const fn plain(from: Slot, heads: u32, width: u32) -> Self {
        Self {
            from,
            to: None,
            cache: None,
            gain: None,
            stride: heads * width,
            first: 0,
            heads,
            spacing: width,
            width,
            norm: HeadNorm::None,
            turned: 0,
            rotated: false,
        }
    }
}

impl<D: Device> Forward<'_, D> {
    pub(super) fn grouped_attention(
        &mut self,
        layer: usize,
        spec: &AttentionSpec,
        tensors: &GroupedTensors,
    ) {
        let AttentionKind::Grouped { kv_heads, head_dim, norm } = spec.kind else {
            unreachable!("bound from the same spec")
        };
        let buffers = self.buffers;
        let query = Job {
            bias: tensors.query_bias.as_ref(),
            out: buffers.query,
            ..Job::of(&tensors.query)
        };
        let key =
            Job { bias: tensors.key_bias.as_ref(), out: buffers.first, ..Job::of(&tensors.key) };
        let value = Job {
            bias: tensors.value_bias.as_ref(),
            out: buffers.second,
            ..Job::of(&tensors.value)
        };
        self.project(&[query, key, value], buffers.normed);

        let [keys, values] = self.kept(layer);
        let turned = spec.rope_dim;
        let query = HeadRows::plain(buffers.query, spec.heads, head_dim);
        let key = HeadRows::plain(buffers.first, kv_heads, head_dim);
        let value = HeadRows::plain(buffers.second, kv_heads, head_dim);
        self.heads(
            layer,
            spec,
            &[
                HeadRows {
                    to: buffers.first_query,
                    gain: tensors.query_norm.as_ref(),
                    norm,
                    turned,
                    ..query
                },
                HeadRows { cache: keys, gain: tensors.key_norm.as_ref(), norm, turned, ..key },
                HeadRows { cache: values, rotated: true, ..value },
            ],
        );
        let sinks = self.model.vector(tensors.sinks.as_ref());
        self.attend(layer, spec, sinks, buffers.attended, spec.heads * head_dim);
        let scale = self.model.network.spec.residual_scale;
        let output = Job {
            bias: tensors.output_bias.as_ref(),
            residual: buffers.stream,
            scale,
            ..Job::of(&tensors.output)
        };
        self.project(&[output], buffers.attended);
    }

    /// Where the two matrices of a layer's tokens are stored: in a ring, in its first chunk of half
    /// floats.
    pub(super) fn kept(&self, layer: usize) -> [Slot; 2] {
        match (self.caches[layer], self.sizes.ring(layer)) {
            (Cache::Ring(slots), Some(layout)) => {
                let keys = buffer(slots.f16);
                [Some(keys), Some(keys.plus(layout.shape.matrix_elements(0) as u64 * 2))]
            }
            (Cache::Exact(slots), _) => slots,
            _ => unreachable!("made from the same sizes"),
        }
    }

    /// Normalizes, turns and stores up to four kinds of vectors.
    pub(super) fn heads(&mut self, layer: usize, spec: &AttentionSpec, rows: &[HeadRows<'_>]) {
        let ring = self.sizes.ring(layer);
        let mut params = Params::new();
        for index in 0..4 {
            // Kinds after the last one are never looked at.
            let rows = rows.get(index).unwrap_or(&rows[0]);
            let norm = match rows.norm {
                HeadNorm::None => 0,
                HeadNorm::PerHead => 1,
                HeadNorm::Whole => 2,
            };
            params = params
                .address(buffer(rows.from))
                .optional(rows.to)
                .optional(rows.cache)
                .optional(self.model.vector(rows.gain))
                .u32(rows.stride)
                .u32(rows.first)
                .u32(rows.heads)
                .u32(rows.spacing)
                .u32(rows.width)
                .u32(norm)
                .u32(rows.turned)
                .u32(u32::from(rows.rotated && ring.is_some()));
        }
        let params = params
            .optional(self.buffers.turns)
            .address(self.position())
            .u32(rows.len() as u32)
            .u32(self.sizes.frequencies as u32)
            .u32(ring.map_or(self.sizes.context, |_| CHUNK) as u32)
            .u32(u32::from(self.sizes.kv != KvStore::Exact(KvElement::F32)))
            .f32(self.model.network.spec.norm_epsilon)
            .f32(spec.rope_scale)
            .u32(u32::from(ring.is_some()))
            .u32(ring.map_or(0, RingLayout::open_start) as u32);
        let heads = rows.iter().map(|rows| rows.heads).sum();
        let widest = rows.iter().map(|rows| rows.width).max().unwrap_or(0);
        let mut launch =
            Launch::new(Kernel::Heads, [Extent::Fixed(heads), Extent::EACH_TOKEN, ONE], params);
        launch.shared_bytes = widest * 4;
        self.launches.push(launch);
    }

    /// Softmax attention over what a layer keeps, quantized for the next matrix, whose rows have
    /// `columns` columns.
    pub(super) fn attend(
        &mut self,
        layer: usize,
        spec: &AttentionSpec,
        sinks: Option<Address>,
        out: Inputs<Slot>,
        columns: u32,
    ) {
        match (self.caches[layer], &self.sizes.kv) {
            (Cache::Ring(slots), KvStore::Ring(layers)) => {
                self.attend_ring(spec, (&layers[layer], slots), sinks, out, columns);
            }
            (Cache::Exact(slots), &KvStore::Exact(element)) => {
                self.attend_exact(spec, (element, slots), sinks, out, columns);
            }
            _ => unreachable!("made from the same sizes"),
        }
    }

    fn attend_exact(
        &mut self,
        spec: &AttentionSpec,
        (element, [first, second]): (KvElement, [Slot; 2]),
        sinks: Option<Address>,
        out: Inputs<Slot>,
        columns: u32,
    ) {
        let (widths, buffers) = (Widths::of(spec), self.buffers);
        // Latents are keys and values in one, with rotated keys beside them.
        let (kv_heads, second_keys, values) = match spec.kind {
            AttentionKind::Grouped { kv_heads, .. } => (kv_heads, None, second),
            AttentionKind::Latent { .. } => (1, second, first),
        };
        let spans = self.sizes.context.div_ceil(SPAN) as u32;
        let in_one = self.pass == Pass::Prompt;
        let params = Params::new()
            .address(buffer(buffers.first_query))
            .optional(buffers.second_query)
            .address(buffer(first))
            .optional(second_keys)
            .address(buffer(values))
            .optional(sinks)
            .address(self.position())
            .optional(out.floats.filter(|_| in_one))
            .address(buffer(buffers.states))
            .address(buffer(buffers.parts))
            .u32(spec.heads)
            .u32(spec.heads / kv_heads)
            .u32(self.sizes.context as u32)
            .u32(widths.first as u32)
            .u32(widths.second as u32)
            .u32(widths.value as u32)
            .u32(spec.window)
            .u32(spans)
            .f32(spec.score_scale)
            .u32(0);
        let kernel = match element {
            KvElement::F16 => Kernel::AttentionHalf,
            KvElement::F32 => Kernel::AttentionFloat,
        };
        let blocks = Extent::Fixed(if in_one { 1 } else { spans });
        let mut launch =
            Launch::new(kernel, [Extent::Fixed(spec.heads), Extent::EACH_TOKEN, blocks], params);
        launch.shared_bytes = widths.shared_bytes() as u32;
        self.launches.push(launch);

        let rows =
            Extent::Tokens { times: spec.heads * widths.value as u32 / columns, per_block: 1 };
        if in_one {
            return self.quantize(out, columns, rows);
        }
        let params = Params::new()
            .address(buffer(buffers.states))
            .address(buffer(buffers.parts))
            .optional(sinks)
            .address(self.position())
            .inner(input_params(out))
            .u32(spec.heads)
            .u32(widths.value as u32)
            .u32(columns)
            .u32(spec.window)
            .u32(spans)
            .u32(0);
        self.launch(Kernel::Combine, [Extent::Fixed(columns.div_ceil(64)), rows, ONE], params);
    }
}
