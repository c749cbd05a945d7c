//! The lean runtime: opens a blob, plans its memory and decodes from it.
