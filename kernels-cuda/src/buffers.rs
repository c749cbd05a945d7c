//! The working buffers of a session, declared once: [`Buffers`] of numbers are their sizes, of
//! [`Slot`]s their addresses.

use std::convert::Infallible;

use hardtack_format::encoding::GROUP_COLUMNS;

use crate::address::Address;

/// Bytes of a word: all buffers are of floats, 32-bit integers, or codes in fours.
pub const WORD_BYTES: usize = 4;

/// Where a buffer is; none if it has no elements.
pub type Slot = Option<Address>;

/// A buffer that the network needs.
pub fn buffer(slot: Slot) -> Address {
    slot.expect("sized from the same spec")
}

/// Rows of a matrix's inputs: floats, and the codes that are made of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inputs<T> {
    /// `[rows, columns]`
    pub floats: T,
    /// `[rows, groups, 64]` codes.
    pub codes: T,
    /// `[rows, groups]`
    pub scales: T,
    /// `[rows, groups]`
    pub sums: T,
}

impl<T> Inputs<T> {
    fn try_map<U, E>(self, make: &mut impl FnMut(T) -> Result<U, E>) -> Result<Inputs<U>, E> {
        Ok(Inputs {
            floats: make(self.floats)?,
            codes: make(self.codes)?,
            scales: make(self.scales)?,
            sums: make(self.sums)?,
        })
    }
}

impl Inputs<usize> {
    /// Words for rows of a matrix's columns.
    pub const fn of(rows: usize, columns: usize) -> Self {
        let groups = rows * columns.div_ceil(GROUP_COLUMNS);
        Self {
            floats: rows * columns,
            codes: groups * GROUP_COLUMNS / WORD_BYTES,
            scales: groups,
            sums: groups,
        }
    }

    fn max(self, other: Self) -> Self {
        Self {
            floats: self.floats.max(other.floats),
            codes: self.codes.max(other.codes),
            scales: self.scales.max(other.scales),
            sums: self.sums.max(other.sums),
        }
    }
}

/// Declares [`Buffers`]: each name becomes a field, and takes part in whatever is done with all of
/// them.
///
/// `buffers! { words { /** doc */ stream, } inputs { /** doc */ normed, } }` expands to
///
/// ```ignore
/// pub struct Buffers<T> { /** doc */ pub stream: T, /** doc */ pub normed: Inputs<T> }
///
/// impl<T> Buffers<T> {
///     pub fn try_map<U, E>(
///         self,
///         mut make: impl FnMut(T) -> Result<U, E>,
///     ) -> Result<Buffers<U>, E> {
///         Ok(Buffers { stream: make(self.stream)?, normed: self.normed.try_map(&mut make)? })
///     }
/// }
///
/// impl Buffers<usize> {
///     pub fn max(self, other: Self) -> Self {
///         Self { stream: self.stream.max(other.stream), normed: self.normed.max(other.normed) }
///     }
/// }
/// ```
macro_rules! buffers {
    (
        words { $($(#[$doc:meta])* $word:ident,)* }
        inputs { $($(#[$inputs_doc:meta])* $inputs:ident,)* }
    ) => {
        /// Something for each buffer of a session: its words, or where it is.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Buffers<T> {
            $($(#[$doc])* pub $word: T,)*
            $($(#[$inputs_doc])* pub $inputs: Inputs<T>,)*
        }

        impl<T> Buffers<T> {
            /// Makes something else of each.
            pub fn try_map<U, E>(
                self,
                mut make: impl FnMut(T) -> Result<U, E>,
            ) -> Result<Buffers<U>, E> {
                Ok(Buffers {
                    $($word: make(self.$word)?,)*
                    $($inputs: self.$inputs.try_map(&mut make)?,)*
                })
            }
        }

        impl Buffers<usize> {
            /// Words that are enough for either.
            pub fn max(self, other: Self) -> Self {
                Self {
                    $($word: self.$word.max(other.$word),)*
                    $($inputs: self.$inputs.max(other.$inputs),)*
                }
            }
        }
    };
}

buffers! {
    words {
        /// `[batch]`: the batch's tokens. The likeliest token is left in the first.
        tokens,
        /// First position, number of tokens, the row whose logits are wanted, and how far a ring's
        /// first chunk is moved.
        state,
        /// `[batch, frequencies]` pairs: RoPE's turns.
        turns,
        /// `[frequencies]` pairs: the turns that bring queries back to a ring's first chunk.
        turns_back,
        /// `[batch, hidden]`: the residual stream.
        stream,
        /// `[batch, hidden]`: the experts' sum before the shared one.
        block,
        /// `[batch, heads * query_dim]`
        query,
        /// `[batch, query_rank]`
        query_low,
        /// `[batch, keys]`, or latents with rotated keys.
        first,
        /// `[batch, values]`
        second,
        /// `[batch, heads, first width]`: what attention multiplies with keys.
        first_query,
        /// `[batch, heads, second width]`
        second_query,
        /// `[heads, spans]` pairs.
        states,
        /// `[heads, spans, value width]`
        parts,
        /// `[batch, experts]`
        router_logits,
        /// `[batch, chosen]` pairs.
        choices,
        /// `[batch]` pairs: the shared expert, or the dense block.
        shared_choices,
        /// `[experts + 1]`
        starts,
        /// `[batch * chosen]`
        rows,
        /// `[batch * chosen, hidden]`
        expert_outputs,
        /// `[vocabulary]`
        logits,
        /// The best logit of each part of the vocabulary.
        best_values,
        /// And its token.
        best_tokens,
    }
    inputs {
        /// The normalized stream.
        normed,
        /// The normalized low query.
        query_normed,
        /// `[batch, heads, nope_dim]`
        head_inputs,
        /// `[batch, heads, kv_rank]`: attention's result of each head before values are projected
        /// up.
        latents,
        /// `[batch, heads * value_dim]`
        attended,
        /// `[batch * chosen, inner]`
        activated,
    }
}

impl Buffers<usize> {
    /// Bytes of all of them.
    pub fn bytes(self) -> u64 {
        let mut words = 0;
        let Ok(_) = self.try_map(|count| {
            words += count as u64;
            Ok::<_, Infallible>(())
        });
        words * WORD_BYTES as u64
    }
}
