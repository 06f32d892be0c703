//! Reachability against asking about everything, one by one.

mod brute;
mod environments;
mod never;
mod written;
