//! Reachability against asking about everything, one by one.

mod brute;
mod never;
mod written;
