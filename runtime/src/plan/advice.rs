//! What would fit where a plan does not.

/// The largest context that fits, by bisection: more tokens never take less.
pub fn shorter_context(context: usize, limit: u64, total_bytes: impl Fn(usize) -> u64) -> String {
    let (mut fits, mut too_many) = (0, context);
    while too_many - fits > 1 {
        let middle = fits + (too_many - fits) / 2;
        if total_bytes(middle) <= limit { fits = middle } else { too_many = middle }
    }
    match fits {
        0 => format!("no context fits: the model needs at least {} bytes", total_bytes(1)),
        tokens => format!("a context of {tokens} tokens would fit"),
    }
}

/// What the rest, `others` bytes, leaves for a ring.
pub fn smaller_ring(others: u64, limit: u64, possible: impl Fn(u64) -> bool) -> String {
    match limit.checked_sub(others) {
        Some(left) if left > 0 && possible(left) => format!("a ring of {left} bytes would fit"),
        _ => "no ring fits".to_owned(),
    }
}
