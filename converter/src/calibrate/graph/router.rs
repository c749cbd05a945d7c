//! The router: which experts a token goes to, and with what weight. The choice is the runtime's;
//! only the weights of the chosen have a gradient.

use candle_core::{D, DType, Device, Result, Tensor};
use hardtack_format::spec::{ExpertsSpec, RouterKind};

/// Where the tokens of a pass go.
#[derive(Clone, Debug)]
pub struct Routes {
    /// Experts of every token, the one with the largest logit first: `[tokens * chosen]`.
    pub experts: Vec<u32>,
    /// Their weights `[tokens, chosen]`.
    pub weights: Tensor,
    /// Experts of one token.
    pub chosen: usize,
}

impl Routes {
    /// For each of `count` experts the places in `experts` where it is; a place's token is
    /// `place / chosen`.
    pub fn by_expert(&self, count: usize) -> Vec<Vec<u32>> {
        let mut places = vec![Vec::new(); count];
        for (place, &expert) in (0..).zip(&self.experts) {
            places[expert as usize].push(place);
        }
        places
    }
}

/// Sends every token `x [tokens, hidden]` (normalized) to its experts. The router may be a
/// variable.
///
/// # Errors
/// Shapes or types of numbers do not agree.
pub fn route(
    spec: &ExpertsSpec,
    router: &Tensor,
    bias: Option<&Tensor>,
    x: &Tensor,
) -> Result<Routes> {
    let mut logits = x.matmul(&router.t()?)?;
    if let Some(bias) = bias {
        logits = logits.broadcast_add(bias)?;
    }
    let (tokens, chosen) = (x.dim(0)?, spec.chosen as usize);
    let rows = logits.detach().to_dtype(DType::F64)?.to_vec2::<f64>()?;
    let experts: Vec<u32> = rows.into_iter().flat_map(|row| choose(row, chosen)).collect();
    let places = Tensor::from_slice(&experts, (tokens, chosen), &Device::Cpu)?;
    let weights = match spec.router {
        RouterKind::SoftmaxAll => softmax(&logits)?.gather(&places, 1)?,
        RouterKind::SoftmaxChosen => softmax(&logits.gather(&places, 1)?)?,
    };
    Ok(Routes { experts, weights: (weights * f64::from(spec.routed_scale))?, chosen })
}

/// The experts with the largest logits, the first of equals; what is no number comes last.
fn choose(mut logits: Vec<f64>, chosen: usize) -> Vec<u32> {
    for logit in &mut logits {
        *logit = if logit.is_nan() { f64::MIN } else { logit.clamp(f64::MIN, f64::MAX) };
    }
    let mut experts = Vec::with_capacity(chosen);
    for _ in 0..chosen {
        let (mut best, mut largest) = (0, f64::NEG_INFINITY);
        for (expert, &logit) in logits.iter().enumerate() {
            if logit > largest {
                (best, largest) = (expert, logit);
            }
        }
        experts.push(best as u32);
        logits[best] = f64::NEG_INFINITY;
    }
    experts
}

fn softmax(logits: &Tensor) -> Result<Tensor> {
    let maximum = logits.detach().max_keepdim(D::Minus1)?;
    let shares = logits.broadcast_sub(&maximum)?.exp()?;
    shares.broadcast_div(&shares.sum_keepdim(D::Minus1)?)
}

#[cfg(test)]
mod tests {
    use super::choose;

    #[test]
    fn the_first_of_equals_is_chosen() {
        assert_eq!(choose(vec![0.0, 2.0, 1.0, 2.0], 3), [1, 3, 2]);
        assert_eq!(choose(vec![f64::NAN; 4], 2), [0, 1]);
        assert_eq!(choose(vec![f64::INFINITY, 1.0, f64::INFINITY, 0.0], 2), [0, 2]);
    }
}
