//! Latent attention (arXiv 2405.04434, section 2.1) on the cached latents themselves: the
//! up-projections are applied to the query and to the result.

use hardtack_format::network::LatentTensors;
use hardtack_format::spec::{AttentionKind, AttentionSpec, HeadNorm};

use super::attention::HeadRows;
use super::list::{Forward, Job, normalize};
use crate::device::Device;
use crate::launch::Extent;

impl<D: Device> Forward<'_, D> {
    pub(super) fn latent_attention(
        &mut self,
        layer: usize,
        spec: &AttentionSpec,
        tensors: &LatentTensors,
    ) {
        let AttentionKind::Latent { kv_rank, nope_dim, value_dim, .. } = spec.kind else {
            unreachable!("bound from the same spec")
        };
        let (buffers, heads, rope) = (self.buffers, spec.heads, spec.rope_dim);
        self.project_query(tensors);
        let latent = Job { out: buffers.first, ..Job::of(&tensors.key_value_down) };
        self.project(&[latent], buffers.normed);

        let [latents, keys] = self.kept(layer);
        let queries = |first, width| HeadRows {
            first,
            stride: heads * (nope_dim + rope),
            spacing: nope_dim + rope,
            ..HeadRows::plain(buffers.query, heads, width)
        };
        let cached = |first, width| HeadRows {
            first,
            stride: kv_rank + rope,
            ..HeadRows::plain(buffers.first, 1, width)
        };
        let gain = Some(&tensors.key_value_norm);
        self.heads(
            layer,
            spec,
            &[
                HeadRows { to: buffers.head_inputs.floats, ..queries(0, nope_dim) },
                HeadRows { to: buffers.second_query, turned: rope, ..queries(nope_dim, rope) },
                HeadRows { cache: latents, gain, norm: HeadNorm::PerHead, ..cached(0, kv_rank) },
                HeadRows { cache: keys, turned: rope, ..cached(kv_rank, rope) },
            ],
        );
        let rows = Extent::Tokens { times: heads, per_block: 1 };
        self.quantize(buffers.head_inputs, nope_dim, rows);
        let up = Job { out: buffers.first_query, ..Job::of(&tensors.key_up) };
        self.project_heads(up, buffers.head_inputs, heads);

        self.attend(layer, spec, None, buffers.latents, kv_rank);
        let up = Job { out: buffers.attended.floats, ..Job::of(&tensors.value_up) };
        self.project_heads(up, buffers.latents, heads);
        self.quantize(buffers.attended, heads * value_dim, Extent::EACH_TOKEN);
        let scale = self.model.network.spec.residual_scale;
        let output = Job { residual: buffers.stream, scale, ..Job::of(&tensors.output) };
        self.project(&[output], buffers.attended);
    }

    /// The query, in one projection or in two with a normalization between.
    fn project_query(&mut self, tensors: &LatentTensors) {
        let buffers = self.buffers;
        let query = Job { out: buffers.query, ..Job::of(&tensors.query) };
        let Some((down, gain)) = &tensors.query_down else {
            return self.project(&[query], buffers.normed);
        };
        self.project(&[Job { out: buffers.query_low, ..Job::of(down) }], buffers.normed);
        let (low, normed) = (buffers.query_low, buffers.query_normed);
        self.launches.push(normalize(self.model, low, gain, normed, None, Extent::EACH_TOKEN));
        self.project(&[query], normed);
    }
}
