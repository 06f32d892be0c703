//! Reachability against asking about everything, one by one.

mod brute;
mod callers;
mod environments;
mod governed;
mod judged;
mod never;
mod written;
