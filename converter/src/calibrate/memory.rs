//! The most memory that a calibration takes, from the numbers alone.

use hardtack_format::spec::{AttentionKind, ExpertsSpec, FeedForwardKind, LayerSpec, ModelSpec};

use super::compress::ROWS_AT_ONCE;
use super::statistics::backward::TILE_TOKENS;
use super::statistics::head::{HEAD_ELEMENTS, TOKENS};

/// Tensors of `[heads, tokens, tokens]` that the attention of one window and its gradient hold at
/// once.
const SCORE_TENSORS: u64 = 14;
/// Tensors of a window's `[tokens, width]` that one half of a layer and its gradient hold at once.
const STREAM_TENSORS: u64 = 24;
/// Streams of all tokens that are held at once besides the kept boundaries: a layer's input, what
/// its halves saw (attended, normalized, gradient, the one between), the state's, and one expert's
/// tiles with its outputs.
const STREAMS: u64 = 9;

/// Bytes that `calibrate` takes at most, besides the process itself: `tokens` in all windows
/// together, `window_max` in the longest, `options` encodings, and blocks' inputs in memory up to
/// `boundary_bytes_max`.
///
/// It is a sum of what every part holds at its fullest, rounded up; the parts do not all meet.
pub fn peak_bytes(
    spec: &ModelSpec,
    tokens: usize,
    window_max: usize,
    options: usize,
    boundary_bytes_max: u64,
) -> u64 {
    let (tokens, window, options) = (tokens as u64, window_max as u64, options as u64);
    let stream = tokens * u64::from(spec.hidden);
    let boundaries = (spec.layers.len() as u64 * stream * 4).min(boundary_bytes_max);
    let layers = spec.layers.iter();
    // Weights are read as floats before they become tensors, so one matrix more; attention has a
    // quantized twin.
    let weights = layers.clone().map(|layer| layer_weights(spec, layer)).max().unwrap_or(0);
    let window =
        layers.clone().map(|layer| window_elements(spec, layer, window)).max().unwrap_or(0);
    let tile = layers
        .map(|layer| tile_elements(spec, layer, tokens, window_max as u64))
        .max()
        .unwrap_or(0);
    let logits = TOKENS as u64 * (HEAD_ELEMENTS as u64 / u64::from(spec.hidden)).max(1);
    let head = HEAD_ELEMENTS as u64 * (options + 3) + 4 * logits;
    boundaries + 4 * (STREAMS * stream + weights + window + tile + head)
}

/// Bytes that [`compress`](crate::calibrate::compress()) takes at most, besides the process itself:
/// a layer's weights and their quantized twin, the stream before and inside it, one window's
/// attention, and of its widest matrix the Hessians of own and borrowed inputs, the factors made of
/// them, and the matrix itself as floats, codes and floats again.
pub fn compress_bytes(spec: &ModelSpec, tokens: usize, window_max: usize) -> u64 {
    let (tokens, window) = (tokens as u64, window_max as u64);
    let layers = spec.layers.iter();
    let weights = layers.clone().map(|layer| layer_weights(spec, layer)).max().unwrap_or(0);
    let window =
        layers.clone().map(|layer| window_elements(spec, layer, window)).max().unwrap_or(0);
    let widest = layers.map(|layer| inputs_max(spec, layer)).max().unwrap_or(0);
    let hidden = u64::from(spec.hidden);
    // Two lower halves, the whole of the one that is factored, its factor and the inverse's.
    let hessians = 4 * widest * widest;
    let matrix = 4 * widest * hidden;
    let rows = ROWS_AT_ONCE as u64 * (hidden + 3 * widest);
    4 * (2 * tokens * hidden + weights + window + hessians + matrix + rows)
}

/// Most columns of a matrix of a layer.
fn inputs_max(spec: &ModelSpec, layer: &LayerSpec) -> u64 {
    let inner = match layer.feed_forward.kind {
        FeedForwardKind::Dense { inner } => inner,
        FeedForwardKind::Experts(mixture) => mixture.inner.max(mixture.shared_inner),
    };
    let heads = u64::from(layer.attention.heads) * u64::from(layer.attention.query_dim());
    u64::from(spec.hidden.max(inner)).max(heads)
}

/// Elements of a layer's weights, and of the twins that are made of them.
fn layer_weights(spec: &ModelSpec, layer: &LayerSpec) -> u64 {
    let hidden = u64::from(spec.hidden);
    let block = |inner: u32| 3 * hidden * u64::from(inner);
    let heads = u64::from(layer.attention.heads);
    let query_dim = u64::from(layer.attention.query_dim());
    let attention = match layer.attention.kind {
        AttentionKind::Grouped { kv_heads, .. } => {
            2 * hidden * query_dim * (heads + u64::from(kv_heads))
        }
        AttentionKind::Latent { query_rank, kv_rank, nope_dim, value_dim } => {
            let [query_rank, kv_rank, nope, value] =
                [query_rank, kv_rank, nope_dim, value_dim].map(u64::from);
            let query = heads * query_dim * if query_rank == 0 { hidden } else { query_rank }
                + query_rank * hidden;
            let rope = u64::from(layer.attention.rope_dim);
            query
                + (kv_rank + rope) * hidden
                + 2 * heads * kv_rank * (nope + value)
                + heads * value * hidden
        }
    };
    let (feed_forward, twin) = match layer.feed_forward.kind {
        FeedForwardKind::Dense { inner } => (block(inner), block(inner)),
        FeedForwardKind::Experts(ExpertsSpec { count, inner, shared_inner, .. }) => {
            let routed = u64::from(count) * (block(inner) + hidden);
            (routed + block(shared_inner), block(inner.max(shared_inner)))
        }
    };
    2 * attention + feed_forward + 2 * twin
}

/// Elements that the forward and backward passes of one window hold.
fn window_elements(spec: &ModelSpec, layer: &LayerSpec, tokens: u64) -> u64 {
    let heads = u64::from(layer.attention.heads);
    let width = u64::from(spec.hidden).max(heads * u64::from(layer.attention.query_dim()));
    let inner = match layer.feed_forward.kind {
        FeedForwardKind::Dense { inner } => u64::from(inner),
        FeedForwardKind::Experts(mixture) => {
            let routed = u64::from(mixture.chosen) * u64::from(mixture.inner + spec.hidden);
            routed + u64::from(mixture.shared_inner)
        }
    };
    SCORE_TENSORS * heads * tokens * tokens + STREAM_TENSORS * tokens * (width + inner)
}

/// Elements of the inner values of one tile of the costs, and what is kept of every token's routes.
fn tile_elements(spec: &ModelSpec, layer: &LayerSpec, tokens: u64, window: u64) -> u64 {
    let (inner, chosen) = match layer.feed_forward.kind {
        FeedForwardKind::Dense { inner } => (inner, 0),
        FeedForwardKind::Experts(mixture) => {
            (mixture.inner.max(mixture.shared_inner), mixture.chosen)
        }
    };
    let tile = tokens.min(window.max(TILE_TOKENS as u64));
    // Three inner tensors and a copy for a consumer; of a route its expert, its weight and its
    // place.
    tile * (4 * u64::from(inner) + 4 * u64::from(spec.hidden)) + 5 * tokens * u64::from(chosen)
}
