//! A pass over some tokens as a list of launches: embedding, the layers, and the head.

mod attention;
mod feed_forward;
mod latent;
mod list;
mod ring;

use hardtack_format::network::AttentionTensors;

use self::list::{Forward, Job, ONE, Pass, multiply, normalize};
use crate::buffers::buffer;
use crate::device::Device;
use crate::kernel::Kernel;
use crate::launch::{Extent, Launch};
use crate::memory::Memory;
use crate::model::Model;
use crate::params::Params;
use crate::sizes::{BEST_PARTS, SessionSizes};

/// One token through all layers, its logits, and the likeliest token.
pub fn decode<D: Device>(model: &Model<D>, memory: &Memory, sizes: &SessionSizes) -> Vec<Launch> {
    let mut launches = layers(model, memory, sizes, Pass::Token);
    launches.extend(head(model, memory));
    launches
}

/// The tokens of a prompt through all layers.
pub fn prompt<D: Device>(model: &Model<D>, memory: &Memory, sizes: &SessionSizes) -> Vec<Launch> {
    layers(model, memory, sizes, Pass::Prompt)
}

/// The logits of one row of the residual stream, and the likeliest token.
pub fn head<D: Device>(model: &Model<D>, memory: &Memory) -> Vec<Launch> {
    let (spec, buffers) = (&model.network.spec, &memory.buffers);
    let row = Some(buffer(buffers.state).plus(8));
    let normed =
        normalize(model, buffers.stream, &model.network.final_norm, buffers.normed, row, ONE);
    let head = &model.network.head;
    let job = Job { out: buffers.logits, scale: spec.logit_scale, ..Job::of(head) };
    let logits = multiply(model, &[job], buffers.normed, ONE);
    let best = Params::new()
        .address(buffer(buffers.logits))
        .address(buffer(buffers.best_values))
        .address(buffer(buffers.best_tokens))
        .address(buffer(buffers.tokens))
        .u32(spec.vocabulary)
        .u32(BEST_PARTS as u32);
    let parts = Launch::new(
        Kernel::BestOfParts,
        [Extent::Fixed(BEST_PARTS as u32), ONE, ONE],
        best.clone(),
    );
    vec![normed, logits, parts, Launch::new(Kernel::BestOfAll, [ONE; 3], best)]
}

fn layers<D: Device>(
    model: &Model<D>,
    memory: &Memory,
    sizes: &SessionSizes,
    pass: Pass,
) -> Vec<Launch> {
    let mut forward = Forward::new(model, memory, sizes, pass);
    let buffers = &memory.buffers;
    let (network, spec) = (&model.network, &model.network.spec);
    let embed = Params::new()
        .inner(model.matrix(&network.embedding))
        .address(buffer(buffers.tokens))
        .address(buffer(buffers.stream))
        .u32(spec.hidden)
        .f32(spec.embedding_scale);
    forward.launch(Kernel::Embed, [Extent::EACH_TOKEN, ONE, ONE], embed);
    for (index, (layer, tensors)) in spec.layers.iter().zip(&network.layers).enumerate() {
        forward.normalize(&tensors.attention_norm);
        match &tensors.attention {
            AttentionTensors::Grouped(tensors) => {
                forward.grouped_attention(index, &layer.attention, tensors)
            }
            AttentionTensors::Latent(tensors) => {
                forward.latent_attention(index, &layer.attention, tensors)
            }
        }
        forward.normalize(&tensors.feed_forward_norm);
        forward.feed_forward(index, &layer.feed_forward, &tensors.feed_forward);
    }
    forward.launches
}
