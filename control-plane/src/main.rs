//! cellwalld: the identity vault, the policy book and their distribution.

fn main() {}
