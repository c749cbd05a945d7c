//! Attention over a layer's quantized ring: blocks of queries that share keys, spans of four
//! chunks.

use hardtack_format::spec::AttentionSpec;
use hardtack_kernels::ring_shape::Scaled;

use super::list::{Forward, ONE, Pass, input_params};
use crate::address::Address;
use crate::buffers::{Inputs, Slot, buffer};
use crate::device::Device;
use crate::kernel::Kernel;
use crate::launch::{Extent, Launch};
use crate::params::Params;
use crate::ring::{RingBuffers, RingLayout};
use crate::widths::Widths;

/// Columns of a group of codes.
const GROUP: u32 = 64;

impl<D: Device> Forward<'_, D> {
    /// Softmax attention, quantized for the next matrix, whose rows have `columns` columns.
    pub(super) fn attend_ring(
        &mut self,
        spec: &AttentionSpec,
        (layout, slots): (&RingLayout, RingBuffers<Slot>),
        sinks: Option<Address>,
        out: Inputs<Slot>,
        columns: u32,
    ) {
        let (widths, buffers, in_one) = (Widths::of(spec), self.buffers, self.pass == Pass::Prompt);
        let (group, spans) = (spec.heads / layout.shape.heads as u32, layout.spans() as u32);
        let rotated = layout.shape.matrices[layout.shape.value_matrix()].scaled == Scaled::Token;
        let shared = if in_one { self.sizes.batch * group as usize } else { group as usize };
        let queries = widths.ring_queries(shared);
        let params = Params::new()
            .address(buffer(buffers.first_query))
            .optional(buffers.second_query)
            .address(buffer(slots.f16))
            .address(buffer(slots.units))
            .address(buffer(slots.scales))
            .address(buffer(slots.table))
            .optional(sinks)
            .address(self.position())
            .optional(buffers.turns_back)
            .optional(out.floats.filter(|_| in_one))
            .address(buffer(buffers.states))
            .address(buffer(buffers.parts))
            .inner(layout.params())
            .u32(spec.heads)
            .u32(group)
            .u32(widths.first as u32)
            .u32(widths.second as u32)
            .u32(widths.value as u32)
            .u32(spec.window)
            .u32(spans)
            .u32(spec.rope_dim)
            .f32(spec.score_scale)
            .u32(0);
        let kernel = match queries {
            4 => Kernel::AttentionRing4,
            2 => Kernel::AttentionRing2,
            _ => Kernel::AttentionRing1,
        };
        let blocks = Extent::Tokens { times: group, per_block: queries as u32 };
        let spans_at_once = Extent::Fixed(if in_one { 1 } else { spans });
        let mut launch = Launch::new(
            kernel,
            [Extent::Fixed(layout.shape.heads as u32), blocks, spans_at_once],
            params,
        );
        launch.shared_bytes = widths.ring_shared_bytes(queries) as u32;
        self.launches.push(launch);

        let width = widths.value as u32;
        let rows = Extent::Tokens { times: spec.heads * width / columns, per_block: 1 };
        if in_one {
            return self.quantize(out, columns, rows);
        }
        // A head's groups are groups of the row if none of them reaches into another head.
        let whole = width.is_multiple_of(GROUP) || columns == width;
        let params = Params::new()
            .address(buffer(buffers.states))
            .address(buffer(buffers.parts))
            .optional(sinks)
            .address(buffer(slots.table))
            .inner(input_params(out))
            .u32(spec.heads)
            .u32(width)
            .u32(spans)
            .u32(u32::from(rotated))
            .u32(u32::from(whole))
            .u32(0);
        let mut launch = Launch::new(
            Kernel::CombineRing,
            [Extent::Fixed(spec.heads), Extent::EACH_TOKEN, ONE],
            params,
        );
        launch.shared_bytes = width * 4;
        self.launches.push(launch);
        if !whole {
            self.quantize(out, columns, rows);
        }
    }
}
