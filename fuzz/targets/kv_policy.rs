//! Any bytes as the KV policy of a network: what is accepted is written again to the same bytes,
//! and chooses bits that there are.
#![no_main]

use std::sync::LazyLock;

use hardtack_format::kv_policy::KvPolicy;
use hardtack_format::spec::{AttentionSpec, ModelSpec};
use hardtack_fuzz::build;
use libfuzzer_sys::fuzz_target;

static SPEC: LazyLock<ModelSpec> = LazyLock::new(build::sample_spec);

fuzz_target!(|bytes: &[u8]| {
    hardtack_fuzz::keep_limit();
    let layers: Vec<AttentionSpec> = SPEC.layers.iter().map(|layer| layer.attention).collect();
    let Ok(policy) = KvPolicy::from_bytes(bytes, 0, layers.iter()) else { return };
    assert_eq!(policy.to_bytes(), bytes, "a policy has one form only");
    assert_eq!(policy.layers.len(), layers.len());
    assert!(policy.prices.windows(2).all(|pair| pair[0].byte <= pair[1].byte));
});
