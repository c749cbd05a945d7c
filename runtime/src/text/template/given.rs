//! What a call is given, bound to the names of what is called.

use std::rc::Rc;

use crate::text::template::heap::{Outcome, failed};
use crate::text::template::value::Value;

/// What a call is given.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub positional: Vec<Value>,
    pub named: Vec<(Rc<str>, Value)>,
}

impl Given {
    /// The arguments in the order of `names`, of which the first `required` must be there. A name
    /// that begins with `/` cannot be given by name.
    pub fn bind<const N: usize>(
        self,
        of: &str,
        names: [&str; N],
        required: usize,
    ) -> Outcome<[Option<Value>; N]> {
        let mut bound = [const { None }; N];
        if self.positional.len() > N {
            return failed(format_args!(
                "{of}() takes at most {N} arguments ({} given)",
                self.positional.len()
            ));
        }
        for (place, value) in bound.iter_mut().zip(self.positional) {
            *place = Some(value);
        }
        for (name, value) in self.named {
            match names.iter().position(|other| *other == &*name) {
                Some(at) if bound[at].is_none() => bound[at] = Some(value),
                Some(_) => {
                    return failed(format_args!(
                        "{of}() got multiple values for argument '{name}'"
                    ));
                }
                None => {
                    return failed(format_args!(
                        "{of}() got an unexpected keyword argument '{name}'"
                    ));
                }
            }
        }
        match (0..required).find(|at| bound[*at].is_none()) {
            Some(at) => {
                let name = names[at].trim_start_matches('/');
                failed(format_args!("{of}() missing required argument '{name}'"))
            }
            None => Ok(bound),
        }
    }

    /// Whatever is given by position, where nothing may be given by name.
    pub fn unnamed(self, of: &str) -> Outcome<Vec<Value>> {
        if self.named.is_empty() {
            Ok(self.positional)
        } else {
            failed(format_args!("{of}() takes no keyword arguments"))
        }
    }

    /// No arguments at all.
    pub fn none(self, of: &str) -> Outcome<()> {
        self.bind(of, [], 0).map(|[]| ())
    }
}
