//! The network as a differentiable function, a layer at a time: what the runtime computes, written
//! from the spec alone on tensors that know their gradients.
//!
//! Only inputs and routers are ever differentiated; every other weight is a constant. All tensors
//! of a pass have one type of numbers: singles for the work, doubles for tests.

mod attention;
mod experts;
mod head;
mod latent;
mod layer;
mod linear;
mod norm;
mod pass;
mod quantized;
mod rope;
mod router;
mod weights;

pub use attention::{Softmax, attended, heads, softmax};
pub use experts::{block, block_inner, block_output, experts, shared_share};
pub use head::{cross_entropy, embed, logits};
pub use latent::{Latents, expand, latents};
pub use layer::{attention_block, feed_forward_block, layer};
pub use linear::linear;
pub use norm::rms_norm;
pub use pass::Pass;
pub use quantized::{quantized, quantized_attention, quantized_block};
pub use rope::Turns;
pub use router::{Routes, route};
pub use weights::*;
