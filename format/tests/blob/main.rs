//! A blob from outside: what is written is read, what is damaged is noticed, what is hostile is
//! refused by name.

mod attack;
mod attacks;
mod attacks_list;
mod build;
mod damage;
mod document;
mod networks;
mod properties;
mod seal;
mod slots;
mod vocabulary;
mod written;
